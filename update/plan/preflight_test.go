package plan

import (
	"slices"
	"testing"

	"resin-supervisor/update/current"
)

const (
	killing  = "kill-then-download"
	deleting = "delete-then-download"
)

// replaced has release c1 of web and db on the engine. The target has c2 of both, whose images are missing.
func replaced(t *testing.T, web, db string) *world {
	w := newWorld(t)
	w.present("web:1")
	w.present("db:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil), service("db", "db:1", nil))
	w.install("u1")
	a := w.app("u1", 1, "c2", service("web", "web:2", nil), service("db", "db:2", nil))
	a.Release.Services["web"].Labels["io.balena.update.strategy"] = web
	a.Release.Services["db"].Labels["io.balena.update.strategy"] = db
	return w
}

// Two strategies stop a container before the download. With them one preflight checks all images of the release, and
// nothing is stopped before every image has passed.
func TestNothingIsStoppedBeforeALook(t *testing.T) {
	for _, strategy := range []string{killing, deleting} {
		w := replaced(t, strategy, strategy)
		w.want("preflight app shop release c2")
		if s := w.next()[0]; !slices.Equal(s.Images, []string{"db:2", "web:2"}) {
			t.Errorf("the preflight checks %q", s.Images)
		}
		w.opts.Looked["web:2"] = true
		w.want("preflight app shop release c2")
		w.opts.Looked["db:2"] = true
		held(w)
		w.want("kill app shop service db", "kill app shop service web")
		// An image on the device needs no preflight.
		w = replaced(t, strategy, strategy)
		w.present("db:2")
		if s := w.next()[1]; s.Kind != Look || !slices.Equal(s.Images, []string{"web:2"}) {
			t.Errorf("%v checks %q", s, s.Images)
		}
	}
	// Another service's download counts as well: without its image nothing starts.
	w := replaced(t, killing, "")
	w.want("fetch app shop service db image db:2", "preflight app shop release c2")
	// A service that leaves the target stays until then.
	w = replaced(t, killing, killing)
	delete(w.target.Apps["u1"].Release.Services, "db")
	for _, c := range w.cur.Containers {
		c.Config.Doc.Labels["io.balena.update.strategy"] = killing
	}
	w.want("preflight app shop release c2")
	// Where nothing is stopped first, there is no preflight.
	w = replaced(t, "", "hand-over")
	w.want("fetch app shop service db image db:2", "fetch app shop service web image web:2")
	// There is none either while nothing runs yet.
	w = replaced(t, killing, killing)
	clear(w.cur.Containers)
	w.want("fetch app shop service db image db:2", "fetch app shop service web image web:2")
}

// With these strategies too, an image for another platform keeps everything running.
func TestNothingIsStoppedFirstForAnotherMachine(t *testing.T) {
	w := replaced(t, killing, killing)
	w.cur.Machine = "aarch64"
	for _, name := range []string{"web:2", "db:2"} {
		w.present(name)
	}
	w.images["web:1"].Architecture, w.images["web:2"].Architecture = "arm64", "amd64"
	for _, s := range w.next() {
		if s.Kind == Kill {
			t.Errorf("%v", s)
		}
	}
}

// Images that are deleted before the download give room only where no other service needs them.
func TestImagesThatGoBeforeTheDownload(t *testing.T) {
	f := func(web, db string, change func(*world), want ...string) {
		t.Helper()
		w := replaced(t, web, db)
		if change != nil {
			change(w)
		}
		for _, s := range w.next() {
			if s.Kind == Look {
				if !slices.Equal(s.IDs, want) {
					t.Errorf("%q are deleted first, want %q", s.IDs, want)
				}
				return
			}
		}
		t.Error("no preflight")
	}
	f(killing, killing, nil)
	f(deleting, killing, nil, "sha256:web:1")
	f(deleting, deleting, nil, "sha256:db:1", "sha256:web:1")
	f(deleting, deleting, func(w *world) { w.opts.Kept = map[string]bool{"web:1": true} }, "sha256:db:1")
	f(deleting, deleting, func(w *world) { // somebody removed it
		delete(w.cur.Images, "sha256:web:1")
	}, "sha256:db:1")
	f(deleting, deleting, func(w *world) {
		r := current.Record{Name: "db:1", AppUUID: "u2", ServiceName: "db", EngineID: "sha256:db:1"}
		w.cur.Records[r.Key()] = r
	}, "sha256:web:1")
}
