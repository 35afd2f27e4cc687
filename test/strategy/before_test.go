package strategy_test

import (
	"fmt"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// Nothing is stopped for a release that cannot run here: because an image cannot be pulled, or because it
// is made for another processor. What runs goes on, and it is said what is missing. (A full disk:
// test/image TestFullStorage.)
func TestNothingIsStoppedForAReleaseThatCannotRun(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	image, fresh := harness.ServerImage("before/app:v1").Load(t), harness.ServerImage("before/app:v2").Load(t)
	foreign := harness.ServerImage("before/foreign:v2")
	foreign.Machine = "s390x"
	foreign.Load(t)
	missing := harness.Image{Name: registry.Addr + "/before/missing:v2"}
	app := func(id int) harness.App {
		return harness.App{ID: id, UUID: fmt.Sprint(id), Name: fmt.Sprint("shop", id), Commit: fmt.Sprint("aaaa", id), Release: id,
			Services: []harness.Service{image.Service(fmt.Sprint("web", id), 1), image.Service(fmt.Sprint("db", id), 2)}}
	}
	// web could be replaced at once, were it not for db.
	next := func(a harness.App, db harness.Image) harness.App {
		return a.Released(fmt.Sprint("bbbb", a.ID), a.ID+100).With(a.Services[0].Using(fresh.Name, 2001), a.Services[1].Using(db.Name, 2002))
	}
	one, two := app(31), app(32)
	s.Apply(harness.TargetOf(one, two))
	before := s.IDs()
	s.PostTarget(harness.TargetOf(next(one, missing), next(two, foreign)))
	harness.Until(t, harness.Soon, "what is missing, in the status", func() error {
		text := s.Overview()
		for _, want := range []string{missing.Name, "s390x"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("no %s in: %s", want, text)
			}
		}
		return nil
	})
	if n := s.CountSteps("kill"); n != 0 || fmt.Sprint(s.IDs()) != fmt.Sprint(before) {
		t.Errorf("containers were stopped: %q", s.Steps())
	}
	for name, c := range s.Containers() {
		if !c.State.Running {
			t.Errorf("%s is %s", name, c.State.Status)
		}
		harness.WantVersion(t, c, "v1")
	}
	if !s.Device().UpdateFailed {
		t.Error("update_failed is not set")
	}
	// Once it is all there, both go on.
	pushed := registry.Push(t, harness.ServerImage("before/missing:v2"))
	s.Apply(harness.TargetOf(next(one, pushed), next(two, fresh)))
}
