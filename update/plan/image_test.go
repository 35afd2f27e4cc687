package plan

import (
	"strings"
	"testing"

	"resin-supervisor/update/current"
)

// engine.md 57 and limits: three downloads at once, one for each image.
func TestDownloadsAreBoundedAndMerged(t *testing.T) {
	w := newWorld(t)
	w.app("u1", 1, "c1", service("a", "same:1", nil), service("b", "same:1", nil), service("c", "c:1", nil), service("d", "d:1", nil), service("e", "e:1", nil))
	fetches, waits := 0, 0
	for _, s := range w.next() {
		if s.Kind == Fetch {
			fetches++
			if s.Image == "same:1" && len(s.Records) != 2 {
				t.Errorf("fetch of a shared image is for %d services, want 2", len(s.Records))
			}
		}
		if s.Kind == Wait {
			waits++
		}
	}
	if fetches != 3 || waits != 1 {
		t.Errorf("%d fetches and %d waits, want 3 and 1", fetches, waits)
	}
	w.cur.Pulls = map[string]current.Pull{"c:1": {}, "d:1": {}, "x:1": {}}
	for _, s := range w.next() {
		if s.Kind == Fetch {
			t.Errorf("fetch beside three running downloads: %v", s)
		}
	}
}

// engine.md 81 and 82: an image is removed when nothing uses it and the update of its app is done.
func TestUnusedImages(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	old := current.Record{Name: "web:0", AppID: 1, AppUUID: "u1", ServiceName: "web", Commit: "c0", EngineID: "sha256:web:0"}
	w.cur.Records[old.Key()] = old
	w.want("remove image app u1 image web:0")
	w.opts.Kept = map[string]bool{"web:0": true}
	w.want()
	w.opts.Kept = nil
	w.opts.KeepImages = true
	w.want()
	w.opts.NoSpace = true
	w.want("remove image app u1 image web:0")
	w.opts.NoSpace = false
	w.opts.KeepImages = false
	w.opts.Busy["u1"] = true
	w.want()
	w.opts.Busy["u1"] = false
	w.target.Apps["u1"].Release.Services["web"].Environment["X"] = "1"
	w.want("take lock app shop")
}

// docs/spec/engine.md 8.4: when a tag names another image, that image is recorded. The image that lost the tag is
// removed when no container uses it any more. A name with a digest is recorded once.
func TestImageOfATagThatMoved(t *testing.T) {
	for _, ref := range []string{"local:latest", "reg/local@sha256:0123456789abcdef0123456789abcdef"} {
		w := newWorld(t)
		w.present(ref)
		w.app("u1", 1, "c1", service("web", ref, nil))
		w.install("u1")
		old := current.Record{Name: ref, AppID: 1, AppUUID: "u1", ServiceName: "web", Commit: "c1", EngineID: "sha256:old"}
		w.cur.Records = map[string]current.Record{old.Key(): old}
		w.cur.Images["sha256:old"] = &current.Image{ID: "sha256:old"}
		if strings.Contains(ref, "@") {
			w.want()
			continue
		}
		w.want("save image app shop service web image local:latest")
		now, former := old, old
		now.EngineID, former.Former = "sha256:"+ref, true
		w.cur.Records = map[string]current.Record{now.Key(): now, former.Key(): former}
		w.want("remove image app u1 image sha256:old")
		for _, c := range w.cur.Containers {
			c.ImageEngine = "sha256:old"
		}
		w.want()
	}
}

// An image for another platform blocks the whole release, unless the image in use names another platform too.
func TestImageForAnotherMachineIsRefused(t *testing.T) {
	f := func(machine, old, fresh string, want ...string) {
		t.Helper()
		w := upgrade(t, nil)
		w.cur.Machine = machine
		w.present("web:2")
		r := current.Record{Name: "web:2", AppID: 1, AppUUID: "u1", ServiceName: "web", Commit: "c2", EngineID: "sha256:web:2"}
		w.cur.Records[r.Key()] = r
		w.images["web:1"].Architecture, w.images["web:2"].Architecture = old, fresh
		if len(want) == 1 {
			held(w)
		}
		w.want(want...)
		if steps := w.next(); steps[0].Fault != (len(want) == 2) {
			t.Errorf("%v", steps)
		}
	}
	f("aarch64", "arm64", "amd64", "wait app shop", "wait app shop service web")
	f("aarch64", "amd64", "amd64", "kill app shop service web")
	f("aarch64", "arm64", "arm", "kill app shop service web")
	f("x86_64", "amd64", "arm64", "wait app shop", "wait app shop service web")
	f("armv6l", "arm", "arm64", "wait app shop", "wait app shop service web")
	f("x86_64", "", "arm64", "wait app shop", "wait app shop service web")
	f("riscv64", "amd64", "arm64", "kill app shop service web")
}

// One step records an image for all services that share it.
func TestSharedImageIsRecordedOnce(t *testing.T) {
	w := newWorld(t)
	w.present("same:1")
	w.app("u1", 1, "c1", service("a", "same:1", nil), service("b", "same:1", nil), service("c", "same:1", nil))
	saves := 0
	for _, s := range w.next() {
		if s.Kind == Save {
			saves++
			if len(s.Records) != 3 {
				t.Errorf("%v is for %d services, want 3", s, len(s.Records))
			}
		}
	}
	if saves != 1 {
		t.Errorf("%d steps record one image", saves)
	}
}
