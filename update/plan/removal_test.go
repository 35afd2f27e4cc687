package plan

import (
	"testing"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// An app whose volumes are to be filled from a backup waits for that, others do not; what is made for
// the filling is not cleaned up meanwhile.
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

// While an app of the target could not be read, and its id is not known, nothing is held to have left the
// target but what is to go for a moment.
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

// An app that comes back under another uuid with the same id: the lock that the old one holds goes by that id.
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
