package strategy_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// replacement is one way to ask for a strategy, and what it must do while the download stands still.
type replacement struct {
	label             string // its value, empty for none
	oldRuns, oldImage bool
}

// Each way is a service of its own app; those of one configuration are looked at together.
func TestStrategyDecidesWhenTheOldContainerAndImageGo(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	round := 0
	f := func(config, value string, ways ...replacement) {
		t.Helper()
		round++
		t.Run(fmt.Sprint(config, " ", value), func(t *testing.T) { replace(t, s, registry, round, map[string]string{config: value}, ways) })
	}
	f("UNRELATED", "",
		// engine.md 64: the old container runs until every image is there.
		replacement{oldRuns: true, oldImage: true},
		// engine.md 65: killed before the first byte, the image stays until the new one is there.
		replacement{label: "kill-then-download", oldImage: true},
		// engine.md 66: the old image goes before the download.
		replacement{label: "delete-then-download"})
	f("RESIN_SUPERVISOR_UPDATE_STRATEGY", "kill-then-download",
		replacement{oldImage: true},
		replacement{label: "download-then-kill", oldRuns: true, oldImage: true})
	f("BALENA_SUPERVISOR_UPDATE_STRATEGY", "delete-then-download",
		replacement{},
		// engine.md 69: an unknown strategy is download-then-kill.
		replacement{label: "handover", oldRuns: true, oldImage: true})
}

func replace(t *testing.T, s *harness.Supervisor, registry *harness.Registry, round int, config map[string]string, ways []replacement) {
	gate := registry.Gate(t)
	var first, second []harness.App
	var old []harness.Image
	db := harness.ServerImage("strategy/db:v1").Load(t)
	for n, way := range ways {
		old = append(old, harness.ServerImage(fmt.Sprintf("strategy/old%d:v1", n)).Load(t))
		fresh := gate.Of(registry.Push(t, harness.ServerImage(fmt.Sprintf("strategy/new%d%d:v2", round, n)).WithBlob(100_000)))
		web := old[n].Service(fmt.Sprint("web", n), 1)
		if way.label != "" {
			web = web.Labelled(strategyLabel, way.label)
		}
		app := harness.App{ID: 31 + n, UUID: fmt.Sprint(31 + n), Name: fmt.Sprint("shop", n), Commit: fmt.Sprintf("aaaa%d%d", round, n), Release: 10 * round,
			Services: []harness.Service{web, db.Service(fmt.Sprint("db", n), 2)}}
		first = append(first, app)
		second = append(second, app.Released(fmt.Sprintf("bbbb%d%d", round, n), 10*round+1).With(web.Using(fresh.Name, 2001), app.Services[1]))
	}
	s.Apply(harness.Target{Config: config, Apps: first})
	before := s.Containers()
	gate.Close()
	s.PostTarget(harness.Target{Config: config, Apps: second})
	harness.Until(t, harness.Soon, "the engine to ask the registry for all of them", func() error {
		pulls := 0
		for _, line := range s.LogLines("step begins") {
			if line["step"] == "fetch" && strings.Contains(fmt.Sprint(line["image"]), fmt.Sprint("strategy/new", round)) {
				pulls++
			}
		}
		if _, waiting := gate.Layers(); pulls < len(ways) || waiting == 0 {
			return fmt.Errorf("%d downloads, %d layers held back", pulls, waiting)
		}
		return nil
	})
	for n, way := range ways {
		web := before[fmt.Sprint("web", n)]
		if way.oldRuns {
			harness.WantVersion(t, web, "v1")
		} else if err := s.Engine.Gone(web.ID); err != nil {
			t.Errorf("%+v: %v", way, err)
		}
		if there := s.Engine.ImageID(t, old[n].Name) != ""; there != way.oldImage {
			t.Errorf("%+v: the old image is there: %v", way, there)
		}
	}
	if n, _ := gate.Layers(); n != 0 {
		t.Errorf("%d layers came before these looks", n)
	}
	gate.Open()
	s.WaitSettled(harness.Soon)
	after := s.Containers()
	for n := range ways {
		harness.WantVersion(t, after[fmt.Sprint("web", n)], "v2")
		// engine.md 48: only the service that differs is recreated.
		if db := fmt.Sprint("db", n); after[db].ID != before[db].ID {
			t.Errorf("%s was recreated", db)
		}
		harness.Until(t, harness.Soon, "removal of the old image", func() error {
			if s.Engine.ImageID(t, old[n].Name) != "" {
				return errors.New("still there")
			}
			return nil
		})
	}
}

// A changed default applies to what is there: no container is recreated for it.
func TestConfiguredStrategyIsNotPartOfTheContainer(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("strategy/old:v1").Load(t)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("leaves", 2))
	s.Apply(harness.TargetOf(app))
	before := s.IDs()
	config := map[string]string{"SUPERVISOR_UPDATE_STRATEGY": "kill-then-download"}
	s.Apply(harness.Target{Config: config, Apps: []harness.App{app}})
	if after := s.IDs(); after["web"] != before["web"] || after["leaves"] != before["leaves"] {
		t.Error("containers were recreated")
	}
	// engine.md 49: a service that leaves goes by the strategy too: here at once, not after the download.
	registry := harness.SharedRegistry(t)
	gate := registry.Gate(t)
	slow := gate.Of(registry.Push(t, harness.ServerImage("strategy/slow:v1").WithBlob(100_000)))
	gate.Close()
	s.PostTarget(harness.Target{Config: config, Apps: []harness.App{app.Released("bbbb2", 2).With(app.Services[0], slow.Service("new", 3))}})
	harness.Until(t, harness.Soon, "the end of the service that left", func() error { return s.Engine.Gone(before["leaves"]) })
	if n, _ := gate.Layers(); n != 0 {
		t.Errorf("%d layers came before", n)
	}
	gate.Open()
	s.WaitSettled(harness.Soon)
}

// engine.md 44: networks, volumes and images first, then the lock, then containers; the commit last.
// engine.md 45: no container before all images are there.
// engine.md 87: Downloading, Downloaded, Installing, Starting, Running.
// engine.md 88: downloading, downloaded or applying changes, done; the release is current at the end only.
func TestFirstInstallStepByStep(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	net := registry.Slow(t, 0)
	small := registry.Push(t, harness.ServerImage("install/small:v1").WithBlob(1000))
	slow := net.Of(registry.Push(t, harness.ServerImage("install/slow:v1").WithBlob(400_000)))
	app := harness.Shop("aaaa1", 1, small.Service("db", 2).Composed("volumes", list{"data:/data"}), slow.Service("web", 1))
	app = app.WithVolumes("data")
	net.Stall()
	s.Proxy.Spoil(createCall, harness.Hang, 0, 1)
	s.Proxy.Spoil(startCall, harness.Hang, 0, 1)
	s.PostTarget(harness.TargetOf(app))

	see := func(what, update string, want ...string) {
		t.Helper()
		harness.Until(t, harness.Soon, what, func() error {
			status, services := phases(t, s)
			found := []string{services["db"], services["web"]}
			for _, ok := range []bool{found[0] == want[0] && found[1] == want[1], found[0] == want[1] && found[1] == want[0]} {
				if ok && status == update {
					return nil
				}
			}
			return fmt.Errorf("%s %q", status, found)
		})
	}
	see("one image there, one coming", "downloading", "Downloaded", "Downloading")
	harness.Until(t, harness.Soon, "volume and network", func() error {
		_, network := s.Engine.Network(t, "31_default")
		if _, volume := s.Engine.Volumes(t)["31_data"]; !volume || !network {
			return fmt.Errorf("volume %v, network %v", volume, network)
		}
		return nil
	})
	if n := s.Proxy.Counts()[createCall]; n != 0 {
		t.Errorf("%d containers were created before all images were there", n)
	}
	if left, _ := filepath.Glob(s.LockDir(31, "*") + "/*.lock"); len(left) > 0 {
		t.Errorf("the lock was taken before it was needed: %q", left)
	}
	net.Resume()
	see("one being created, one being started", "applying changes", "Installing", "Starting")
	if state := s.Get("/v2/applications/31/state").Body; !contains([]string{state}, "Installing") || contains([]string{state}, "aaaa1") {
		t.Errorf("state during the installation: %s", state)
	}
	if d := s.Device(); d.Status != "Installing" || d.Commit != "" || !d.UpdatePending || !d.UpdateDownloaded {
		t.Errorf("device during the installation: %+v", d)
	}
	if held, _ := filepath.Glob(s.LockDir(31, "*") + "/*.lock"); len(held) != 4 {
		t.Errorf("locks during the installation: %q", held)
	}
	s.Proxy.Heal()
	s.WaitSettled(harness.Soon)
	see("everything running", "done", "Running", "Running")
	lines := s.Steps()
	if last := lines[len(lines)-1]; !contains(lines, "set commit") || !contains([]string{last, lines[len(lines)-2]}, "set commit") {
		t.Errorf("the commit is not set last: %q", lines)
	}
}
