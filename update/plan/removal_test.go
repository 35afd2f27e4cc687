package plan

import (
	"slices"
	"testing"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// An app whose volumes are restored from a backup waits for that, and others do not. Images and containers of the
// restore are not cleaned up meanwhile.
func TestRestoreComesFirst(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.opts.CleanUp = true
	w.cur.Images["nameless"] = &current.Image{ID: "nameless"}
	w.opts.Restore = "u1"
	w.want("restore volumes app shop", "clean up image nameless")
	if s := w.next()[0]; s.Volumes == nil {
		t.Error("the step does not say which volumes there are")
	}
	w.opts.Busy = map[string]bool{"u1": true}
	w.want("restore volumes app shop")
}

// docs/spec/engine.md 2.7: the anonymous volumes of a container stay for the next one of the same image, and are
// removed when no next container will use them.
func TestAnonymousVolumes(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.present("web:1")
	s := service("web", "web:1", target.Map{"volumes": []any{"/data"}})
	w.app("u1", 1, "c1", s)
	w.install("u1")
	var c *current.Container
	for _, c = range w.cur.Containers {
		c.VolumeNames = []string{"vol"}
	}
	keeps := func(when string, want bool) {
		t.Helper()
		for _, step := range w.next() {
			if step.Container == c && step.Keep == want {
				return
			}
		}
		t.Errorf("%s: no step that keeps the volumes: %v, in %v", when, want, w.next())
	}
	s.Environment["MODE"] = "new"
	keeps("another variable", true)
	s.Labels["io.balena.update.strategy"] = "hand-over"
	keeps("a hand-over", true)
	w.present("web:2")
	s.Image = "web:2"
	keeps("a hand-over to another image", false)
	delete(s.Labels, "io.balena.update.strategy")
	keeps("another image", false)

	s.Image = "web:1"
	delete(w.cur.Containers, c.ID)
	drop := "remove volume app shop volume vol"
	f := func(when string, v current.Anonymous, want bool) {
		t.Helper()
		w.cur.Anonymous = map[string]current.Anonymous{"vol": v}
		if got := slices.Contains(lines(w.next()), drop); got != want {
			t.Errorf("%s: the volume is removed: %v, want %v; %v", when, got, want, w.next())
		}
	}
	v := current.Anonymous{AppID: 1, Service: "web", Path: "/data", Image: "sha256:web:1"}
	f("no container yet", v, false)
	f("of another image", current.Anonymous{AppID: 1, Service: "web", Path: "/data", Image: "sha256:web:0"}, true)
	f("at another path", current.Anonymous{AppID: 1, Service: "web", Path: "/old", Image: "sha256:web:1"}, true)
	f("of another service", current.Anonymous{AppID: 1, Service: "db", Path: "/data", Image: "sha256:web:1"}, true)
	next := w.container(w.resolve()["u1"], w.resolve()["u1"].Services["web"], "running")
	f("a container without it", v, true)
	next.VolumeNames = []string{"vol"}
	f("a container with it", v, false)
	next.VolumeNames = nil
	w.opts.Intermediate = map[string]string{"u1": "a restart was asked for"}
	f("in the middle of a restart", v, false)
	w.opts.Intermediate = nil

	delete(w.target.Apps, "u1")
	w.cur.Containers, w.cur.Networks, w.opts.KeepVolumes = nil, nil, true
	drop = "remove volume app 1 volume vol"
	w.cur.Commits = nil
	w.opts.Held = nil
	f("without the app", v, true)
}

// While an app of the target cannot be read and its id is unknown, no app counts as removed from the target, except by
// an API action such as a purge.
func TestNothingIsRemovedBesideAnUnreadableApp(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	w.cur.Volumes = map[string]*current.Volume{"7_data": {Name: "7_data", AppID: 7, Supervised: true}}
	w.target.Apps = map[string]*target.App{"u7": {UUID: "u7", ID: target.UnknownID, Name: "u7", Class: "fleet", Rejected: "cannot be read"}}
	w.want("release lock app u1")
	w.opts.Intermediate = map[string]string{"u1": "a purge was asked for"}
	if len(w.next()) == 0 {
		t.Error("a purge does not go on")
	}
	w.opts.Intermediate = nil
	w.target.Apps["u7"].ID = 8
	if len(w.next()) < 2 {
		t.Errorf("apps that left the target stay: %v", w.next())
	}
}

// An app comes back with the same id and another uuid: the lock of the old one is released by that id.
func TestAppUnderAnotherUUIDGetsItsLock(t *testing.T) {
	w := newWorld(t)
	w.app("u2", 1, "c2")
	w.cur.Commits["u1"] = "c1"
	held(w)
	for _, s := range w.next() {
		if s.Kind == ReleaseLock && s.AppUUID == "u1" {
			if s.AppID != 1 {
				t.Errorf("the lock of app %d is released", s.AppID)
			}
			return
		}
	}
	t.Errorf("no lock is released: %v", w.next())
}
