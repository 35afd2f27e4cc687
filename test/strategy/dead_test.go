package strategy_test

import (
	"errors"
	"testing"

	"resin-supervisor/test/harness"
)

// engine.md 53: a container that the engine could not remove is removed when it can be, and replaced.
// The engine cannot remove a file that must not be changed, and calls its container dead.
func TestDeadContainerIsRemovedAndReplaced(t *testing.T) {
	engine := harness.SmallEngine(t, 160<<20) // its file system knows such files
	s := harness.StartSupervisor(t, harness.Setup{Engine: engine})
	image := harness.ServerImage("run/app:v1").LoadInto(t, engine)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(app))
	before := s.Containers()["web"]
	var full struct {
		GraphDriver struct{ Data struct{ UpperDir string } }
	}
	engine.Must(t, "GET", "/containers/"+before.ID+"/json", nil, &full)
	upper := full.GraphDriver.Data.UpperDir
	if upper == "" {
		t.Fatal("the engine does not say where the container's files are")
	}
	chattr := func(flag string) {
		t.Helper()
		harness.RunTool(t, "chattr", flag, upper)
	}
	chattr("+i")
	t.Cleanup(func() { harness.TryTool("chattr", "-i", upper) })
	next := app.Released("bbbb2", 2).With(app.Services[0].Setting("MODE", "new"))
	s.PostTarget(harness.TargetOf(next))
	harness.Until(t, harness.Soon, "an attempt to remove the dead container", func() error {
		if s.CountSteps("remove web: the engine reports it dead") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	harness.Until(t, harness.Soon, "the dead container", func() error { // between two attempts
		c, err := engine.Container(before.ID)
		if err == nil && c.State.Status != "dead" {
			err = errors.New(c.State.Status)
		}
		return err
	})
	chattr("-i")
	s.WaitSettled(harness.Soon)
	if now := s.Containers()["web"]; now.ID == before.ID {
		t.Error("the dead container is still there")
	}
}
