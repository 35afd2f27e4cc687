package plan

import (
	"slices"
	"testing"

	"resin-supervisor/update/target"
)

// docs/spec/engine.md 5.3 (4), 7: an app with no step, or with none that can run now, releases the lock of an
// earlier target once no step runs under it.
func TestLockOfAnAppThatIsLeftAlone(t *testing.T) {
	const release = "release lock app shop"
	f := func(name string, releases bool, prepare func(w *world)) {
		t.Helper()
		w := newWorld(t)
		held(w)
		w.present("web:1")
		w.app("u1", 1, "c1", service("web", "web:1", nil))
		w.install("u1")
		prepare(w)
		if got := slices.Contains(lines(w.next()), release); got != releases {
			t.Errorf("%s: the lock is released: %v; %v", name, got, w.next())
		}
	}
	next := func(w *world, names ...string) {
		var services []*target.Service
		for _, name := range names {
			services = append(services, service(name, name+":2", nil))
		}
		w.app("u1", 1, "c2", services...)
	}
	f("a release that is rejected", true, func(w *world) { w.target.Apps["u1"].Rejected = "unmet" })
	f("while a step of the release before runs", false, func(w *world) {
		w.target.Apps["u1"].Rejected = "unmet"
		w.opts.Busy["u1"] = true
	})
	f("an app whose id cannot be read any more", true, func(w *world) {
		w.target.Apps["u1"].Rejected, w.target.Apps["u1"].ID = "cannot be read", target.UnknownID
		if s := w.next(); len(s) != 1 || s[0].AppID != 1 {
			t.Errorf("the lock of the app with id 1 is not released: %v", s)
		}
	})
	f("the image of the next release is missing", true, func(w *world) { next(w, "web") })
	f("the image of the next release is for another machine", true, func(w *world) {
		next(w, "web")
		w.present("web:2")
		w.cur.Machine = "x86_64"
		w.images["web:1"].Architecture, w.images["web:2"].Architecture = "amd64", "arm64"
	})
	f("one of two images is missing, and a service of the release has no container", false, func(w *world) {
		next(w, "web", "db")
		w.present("db:2")
	})
	f("a strategy that stops before it downloads", false, func(w *world) {
		next(w, "web")
		w.target.Apps["u1"].Release.Services["web"].Labels["io.balena.update.strategy"] = "kill-then-download"
		w.opts.Looked["web:2"] = true
	})
	f("an action works towards an intermediate target", false, func(w *world) {
		next(w, "web")
		w.opts.Intermediate = map[string]string{"u1": "a restart of the app was asked for"}
	})
}
