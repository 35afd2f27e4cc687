package update_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/engine.md 10: 48, 64, 81.
func TestUpdateKeepsTheOldReleaseServingUntilTheNewImagesAreThere(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	net := registry.Slow(t, 0)
	v1 := net.Of(registry.Push(t, harness.ServerImage("release/web:v1")))
	v2 := net.Of(registry.Push(t, harness.ServerImage("release/web:v2").WithBlob(600_000)))
	db := harness.ServerImage("release/db:v1").Load(t)
	first := harness.Shop("aaaa1", 1, v1.Service("web", 1).Composed("volumes", []any{"data:/data"}), db.Service("db", 2))
	first = first.WithVolumes("data")
	s.Apply(harness.TargetOf(first))
	before := s.Containers()
	harness.MustAsk(t, before["web"], http.MethodPut, "/file?path=/data/kept", "precious")

	events := s.Engine.Record(t)
	net.SetRate(300_000)
	second := first.Released("bbbb2", 2).With(first.Services[0].Using(v2.Name, 2001), first.Services[1])
	s.PostTarget(harness.TargetOf(second))
	harness.Until(t, harness.Soon, "the download under way", func() error { return downloading(s) })
	serving(t, before["web"], "v1")
	s.WaitSettled(harness.Soon)

	after := s.Containers()
	harness.WantVersion(t, after["web"], "v2")
	if after["db"].ID != before["db"].ID || after["db"].State.StartedAt != before["db"].State.StartedAt {
		t.Error("the unchanged service was restarted")
	}
	if got := harness.MustAsk(t, after["web"], http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
		t.Errorf("the volume holds %q", got)
	}
	pulled, killed := events.Events("image", "pull"), events.Of("kill", "web")
	if len(pulled) != 1 || len(killed) == 0 || killed[0].TimeNano < pulled[0].TimeNano {
		t.Errorf("%d pulls, %d kills; the old container must end after the pull", len(pulled), len(killed))
	}
	harness.Until(t, harness.Soon, "removal of the old image", func() error { return imageGone(t, s.Engine, v1.Name) })
}

func downloading(s *harness.Supervisor) error {
	if d := s.Device(); d.Status != "Downloading" || d.DownloadProgress == nil || !d.UpdatePending {
		return fmt.Errorf("device says %+v", d)
	}
	return nil
}

// serving fails the test unless the container answers with its version now.
func serving(t *testing.T, c harness.Container, version string) {
	t.Helper()
	if status, got, err := harness.Ask(c, http.MethodGet, "/version", ""); err != nil || status != 200 || got != version {
		t.Errorf("%s answers %d %q %v, want %q", c.Name, status, got, err, version)
	}
}

func imageGone(t *testing.T, e *harness.Engine, name string) error {
	if id := e.ImageID(t, name); id != "" {
		return fmt.Errorf("%s is still there", name)
	}
	return nil
}

// docs/spec/engine.md 10: 82, D21: one image under two names, of which one is no longer wanted.
func TestNameOfASharedImageIsRemovedAndTheImageStays(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	image := harness.ServerImage("release/shared:v1")
	one, two := registry.Push(t, image), registry.Push(t, image.SameAs("release/twin:v1"))
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, one.Service("one", 1), two.Service("two", 2))))
	before := s.IDs()["one"]
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, one.Service("one", 1))))
	harness.Until(t, harness.Soon, "removal of the second name", func() error { return imageGone(t, s.Engine, two.Name) })
	if s.Engine.ImageID(t, one.Name) == "" {
		t.Error("the image that is still used lost its name")
	}
	if s.IDs()["one"] != before {
		t.Error("the service that stays was recreated")
	}
}

// docs/spec/engine.md 10: 80.
func TestSameImageUnderANewNameRestartsNothing(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	image := harness.ServerImage("release/old-name:v1")
	first := harness.Shop("aaaa1", 1, registry.Push(t, image).Service("web", 1))
	s.Apply(harness.TargetOf(first))
	before := s.IDs()
	renamed := registry.Push(t, image.SameAs("release/new-name:v1"))
	s.Apply(harness.TargetOf(first.Released("bbbb2", 2).With(first.Services[0].Using(renamed.Name, 1001))))
	sameIDs(t, s, before)
}

// docs/spec/engine.md 10: 47.
func TestReleaseWithTheSameConfigOnlyRenames(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("release/same:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2))
	s.Apply(harness.TargetOf(first))
	before := s.Containers()
	events := s.Engine.Record(t)
	s.Apply(harness.TargetOf(first.Released("bbbb2", 2)))
	for name, c := range s.Containers() {
		if c.ID != before[name].ID || c.State.StartedAt != before[name].State.StartedAt {
			t.Errorf("%s was restarted by a release that changes nothing", name)
		}
	}
	if n := len(events.Events("container", "die")); n != 0 {
		t.Errorf("%d containers died", n)
	}
	if n := len(events.Events("container", "rename")); n != 2 {
		t.Errorf("%d renames, want 2", n)
	}
}

// docs/spec/engine.md 10: 48.
func TestEnvironmentChangeRecreatesOnlyItsService(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("release/same:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2))
	s.Apply(harness.TargetOf(first))
	before := s.IDs()
	s.Apply(harness.TargetOf(first.Released("bbbb2", 2).With(first.Services[0].Setting("MODE", "new"), first.Services[1])))
	after := s.Containers()
	if after["web"].ID == before["web"] || after["web"].Env("MODE") != "new" {
		t.Errorf("web has MODE=%q, same id %v", after["web"].Env("MODE"), after["web"].ID == before["web"])
	}
	if after["db"].ID != before["db"] {
		t.Error("db was recreated too")
	}
}

// docs/spec/engine.md 10: 45, 49.
func TestServiceLeavesOnlyWhenTheNewImagesAreThere(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	net := registry.Slow(t, 100_000)
	image := harness.ServerImage("release/same:v1").Load(t)
	slow := net.Of(registry.Push(t, harness.ServerImage("release/slow:v1").WithBlob(300_000)))
	first := harness.Shop("aaaa1", 1, image.Service("old", 1))
	s.Apply(harness.TargetOf(first))
	events := s.Engine.Record(t)
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, image.Service("new", 2), slow.Service("late", 3))))
	pulled := events.Events("image", "pull")
	if len(pulled) == 0 {
		t.Fatal("no pull seen")
	}
	for _, what := range []string{"old", "new", "late"} {
		action := "start"
		if what == "old" {
			action = "kill"
		}
		if seen := events.Of(action, what); len(seen) == 0 || seen[0].TimeNano < pulled[0].TimeNano {
			t.Errorf("%s of %s came before the last image", action, what)
		}
	}
}

// docs/spec/engine.md 10: 59, 4; docs/spec/cloud.md 10: 34.
func TestNewerTargetCancelsARunningPull(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	net := registry.Slow(t, 50_000)
	big := net.Of(registry.Push(t, harness.ServerImage("cancel/big:v1").WithBlob(5_000_000)))
	small := harness.ServerImage("cancel/small:v1").Load(t)
	s.PostTarget(harness.TargetOf(harness.Shop("aaaa1", 1, big.Service("web", 1))))
	harness.Until(t, harness.Soon, "bytes of the big image", func() error {
		if net.Bytes() < 50_000 {
			return fmt.Errorf("%d bytes", net.Bytes())
		}
		return nil
	})
	s.PostTarget(harness.TargetOf(harness.Shop("bbbb2", 2, small.Service("web", 1))))
	harness.Until(t, 2*time.Second, "end of the transfer", func() error {
		if net.Open() > 0 {
			return errors.New("the engine still reads from the registry")
		}
		return nil
	})
	before := net.Bytes()
	s.WaitSettled(harness.Soon)
	if more := net.Bytes() - before; more > 0 {
		t.Errorf("%d bytes were pulled after the cancel", more)
	}
	if d := s.Device(); d.DownloadProgress != nil || d.Status != "Idle" {
		t.Errorf("device still shows %s %v", d.Status, d.DownloadProgress)
	}
	if id := s.Engine.ImageID(t, big.Name); id != "" {
		t.Error("the cancelled image is on the engine")
	}
}
