package plan

import (
	"testing"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// engine.md 83: which images and tags are cleaned up, and which stay.
func TestCleanUp(t *testing.T) {
	own, err := target.ParseReference("balena/armv7hf-supervisor:v2")
	if err != nil {
		t.Fatal(err)
	}
	build := func() *world {
		w := newWorld(t)
		w.opts.CleanUp, w.opts.Supervisor = true, own
		image := func(id string, tags []string, digests ...string) {
			w.cur.Images[id] = &current.Image{ID: id, Tags: tags, Digests: digests}
		}
		image("dangling", nil)
		image("digest", nil, "user/x@sha256:1")
		image("tagged", []string{"user/x:1"})
		image("recorded", nil)
		image("contained", nil)
		image("agent", []string{"balena/armv7hf-supervisor:v2", "balena/armv7hf-supervisor:v1"})
		image("former", []string{"resin/armv7hf-supervisor:v0", "mine:kept"})
		image("neighbour", []string{"balena/armv7hf-supervisor-x:v1", "example.com/balena/armv7hf-supervisor:v1"})
		w.cur.Records["r"] = current.Record{EngineID: "recorded", AppUUID: "u1"}
		w.cur.Containers["c"] = &current.Container{ID: "c", ImageEngine: "contained", AppUUID: "u1"}
		w.opts.Busy["u1"] = true
		return w
	}
	f := func(name string, w *world, want ...string) {
		t.Helper()
		var got []string
		for _, s := range cleanUp(w.cur, &w.opts) {
			got = append(got, s.Image)
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %q, want %q", name, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	f("all", build(), "balena/armv7hf-supervisor:v1", "dangling", "resin/armv7hf-supervisor:v0")
	w := build()
	w.opts.Kept = map[string]bool{"dangling": true, "balena/armv7hf-supervisor:v1": true}
	f("refused", w, "resin/armv7hf-supervisor:v0")
	w = build()
	w.cur.Pulls = map[string]current.Pull{"x": {}}
	f("while a download runs", w)
	w = build()
	w.opts.CleanUp = false
	f("not allowed", w)
	w = build()
	w.opts.Supervisor = target.Reference{}
	f("agent not known", w, "dangling")
	w = build()
	w.opts.Supervisor.Digest = "sha256:1"
	f("agent by digest", w, "dangling")
	w = build()
	w.opts.KeepImages = true
	for _, s := range w.next() {
		if s.Kind == CleanUp {
			t.Error("local mode of a managed device cleans up")
		}
	}
}

// upgradeAbandoned has an app that updates from release c1 to c3, with an image of release c2, which it never reached.
func upgradeAbandoned(t *testing.T) *world {
	w := upgrade(t, nil)
	w.present("web:abandoned")
	r := current.Record{Name: "web:abandoned", AppUUID: "u1", AppID: 1, ServiceName: "web", Commit: "between", EngineID: "sha256:web:abandoned"}
	w.cur.Records[r.Key()] = r
	return w
}

// engine.md 8.3: unused images are removed before the next download, and needed ones stay.
func TestFullStorageRemovesImagesInBetween(t *testing.T) {
	w := upgradeAbandoned(t)
	f := func(name string, wantFetches int, want ...string) {
		t.Helper()
		fetches := 0
		var removed []string
		for _, s := range w.next() {
			switch s.Kind {
			case Fetch:
				fetches++
			case RemoveImage:
				removed = append(removed, s.Image)
			}
		}
		if fetches != wantFetches || len(removed) != len(want) || len(want) > 0 && removed[0] != want[0] {
			t.Errorf("%s: %d downloads, removes %q, want %d and %q", name, fetches, removed, wantFetches, want)
		}
	}
	f("with space", 1)
	w.opts.NoSpace = true
	f("full", 0, "web:abandoned")
	w.opts.Kept = map[string]bool{"web:abandoned": true}
	f("removal refused", 1)
}

// engine.md 66: an image that the engine refuses to delete does not block the download.
func TestRefusedDeletionGivesWayToTheDownload(t *testing.T) {
	w := upgrade(t, map[string]string{"io.balena.update.strategy": "delete-then-download"})
	clear(w.cur.Containers)
	w.opts.Kept = map[string]bool{"web:1": true}
	w.want("fetch app shop service web image web:2")
}

// engine.md 3.1: the volume of extra firmware is prepared once, when a service uses it, and the service waits for it.
func TestExtraFirmware(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.present("db:1")
	s := service("web", "web:1", nil)
	s.Labels["io.balena.features.extra-firmware"] = "1"
	w.app("u1", 1, "c1", s, service("db", "db:1", nil))
	held(w)
	network := "create network app shop network u1_default"
	saves := []string{"save image app shop service db image db:1", "save image app shop service web image web:1"}
	w.want("prepare volume volume extra-firmware", network, saves[0], "wait app shop service db", saves[1], "wait app shop service web")
	w.network(w.resolve()["u1"].Networks["u1_default"], "u1", 1)
	w.want("prepare volume volume extra-firmware", saves[0], "start app shop service db", saves[1], "wait app shop service web")
	w.opts.FirmwareReady = true
	w.want(saves[0], "start app shop service db", saves[1], "start app shop service web")
	delete(w.target.Apps["u1"].Release.Services, "web")
	w.opts.FirmwareReady = false
	w.want(saves[0], "start app shop service db")
}

// engine.md 85, 8.5: a delta starts from the image of the running release.
func TestSourceOfADelta(t *testing.T) {
	w := upgradeAbandoned(t)
	from := func() string {
		for _, s := range w.next() {
			if s.Kind == Fetch && s.From != nil {
				return s.From.Name
			}
		}
		return ""
	}
	if got := from(); got != "" {
		t.Errorf("source %q with deltas off", got)
	}
	w.opts.Deltas = true
	if got := from(); got != "" {
		t.Errorf("source %q on an engine that cannot apply deltas", got)
	}
	w.cur.Deltas = true
	if got := from(); got == "" || got == "web:abandoned" {
		t.Errorf("source %q, want the image of the running release", got)
	}
	delete(w.cur.Commits, "u1")
	if got := from(); got == "" {
		t.Error("no source without a release that was fully applied")
	}
	clear(w.cur.Records)
	if got := from(); got != "" {
		t.Errorf("source %q without records", got)
	}
}
