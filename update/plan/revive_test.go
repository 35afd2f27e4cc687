package plan

import (
	"strings"
	"testing"

	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// engine.md 5.5, 64: the container of the old release runs until every image of the next one is on the device. It is
// started again when the engine could not start it, or the agent stopped it for a release that was never reached.
func TestOldContainerRunsUntilTheReleaseCanStart(t *testing.T) {
	f := func(when string, change func(*world, *current.Container), want ...string) {
		t.Helper()
		w := newWorld(t)
		w.present("web:1")
		w.present("db:1")
		w.app("u1", 1, "c1", service("web", "web:1", nil), service("db", "db:1", nil))
		w.install("u1")
		w.app("u1", 1, "c2", service("web", "web:1", nil), service("db", "db:2", nil)) // web is renamed, db replaced
		for _, c := range w.cur.Containers {
			if c.ServiceName == "db" && when != "the service that is renamed" || c.ServiceName == "web" && when == "the service that is renamed" {
				c.Status, c.Running, c.StartedAt, c.Error = "exited", false, w.born, "no such device"
				change(w, c)
			}
		}
		t.Log(when)
		w.want(want...)
	}
	nothing := func(*world, *current.Container) {}
	plain := []string{"fetch app shop service db image db:2", "save image app shop service web image web:1", "wait app shop service web"}
	f("the engine could not start it", nothing, "fetch app shop service db image db:2", "start app shop service db",
		"save image app shop service web image web:1", "wait app shop service web")
	f("the service that is renamed", nothing, "fetch app shop service db image db:2",
		"save image app shop service web image web:1", "wait app shop service web", "start app shop service web")
	f("the agent stopped it", func(w *world, c *current.Container) {
		c.Error = ""
		w.cur.Stops = map[string]current.Stop{c.ID: {Run: c.StartedAt, Replaced: true}}
	}, "fetch app shop service db image db:2", "start app shop service db", "save image app shop service web image web:1", "wait app shop service web")
	f("the agent stopped it because its release did not want it to run", func(w *world, c *current.Container) {
		c.Error = ""
		w.cur.Stops = map[string]current.Stop{c.ID: {Run: c.StartedAt}}
	}, plain...)
	f("a user stopped it", func(w *world, c *current.Container) {
		w.cur.Stops = map[string]current.Stop{c.ID: {Run: c.StartedAt, User: true}}
	}, plain...)
	f("it ended by itself", func(_ *world, c *current.Container) { c.Error = "" }, plain...)
	f("nobody is to start it again", func(_ *world, c *current.Container) {
		config := *c.Config
		config.Doc.HostConfig.RestartPolicy = doc.RestartPolicy{Name: "no"}
		c.Config = &config
	}, plain...)
	f("its network was made again", func(_ *world, c *current.Container) {
		c.Attached = map[string]string{"u1_default": "gone"}
	}, plain...)
	f("it is not to run", func(w *world, _ *current.Container) {
		w.target.Apps["u1"].Release.Services["db"].Running = false
	}, plain...)
}

// The same holds for strategies that do not wait for the download, and for a release that only lost an image.
func TestOldContainerRunsWhileAnotherStrategyWaits(t *testing.T) {
	f := func(strategy, commit, environment string, want ...string) {
		t.Helper()
		w := newWorld(t)
		w.present("web:1")
		w.present("db:1")
		db := service("db", "db:1", nil)
		db.Labels = map[string]string{"io.balena.update.strategy": strategy}
		w.app("u1", 1, "c1", service("web", "web:1", nil), db)
		w.install("u1")
		for _, c := range w.cur.Containers {
			if c.ServiceName == "db" {
				c.Status, c.Running, c.StartedAt, c.Error = "exited", false, w.born, "no such device"
			}
		}
		next := *db
		if environment != "" {
			next.Environment = map[string]string{"A": environment}
		}
		w.app("u1", 1, commit, service("web", "web:2", nil), &next)
		t.Log(strategy, commit, environment)
		w.want(want...)
	}
	f("", "c1", "", "wait app shop service db", "start app shop service db", "fetch app shop service web image web:2")
	f("hand-over", "c2", "b", "save image app shop service db image db:1", "wait app shop service db", "start app shop service db", "fetch app shop service web image web:2")
	f("kill-then-download", "c2", "b", "save image app shop service db image db:1", "preflight app shop release c2", "start app shop service db", "fetch app shop service web image web:2")
}

// An app that waits for an image releases its lock, also while the engine cannot start its old container.
func TestLockOfAnAppWhoseContainerCannotBeStarted(t *testing.T) {
	w := newWorld(t)
	w.present("db:1")
	w.app("u1", 1, "c1", service("db", "db:1", nil))
	w.install("u1")
	for _, c := range w.cur.Containers {
		c.Status, c.Running, c.StartedAt, c.Error = "exited", false, w.born, "no such device"
	}
	held(w)
	w.app("u1", 1, "c2", service("db", "db:2", nil))
	w.want("fetch app shop service db image db:2", "start app shop service db", "release lock app shop")
}

// An app may have the id 0.
func TestAnonymousVolumeOfTheAppZero(t *testing.T) {
	w := newWorld(t)
	w.present("db:1")
	w.app("u1", 0, "c1", service("db", "db:1", target.Map{"volumes": []any{"/x"}}))
	w.install("u1")
	clear(w.cur.Containers)
	w.cur.Anonymous = map[string]current.Anonymous{strings.Repeat("ab", 32): {Service: "db", Path: "/x", Image: "sha256:db:1"}}
	for _, s := range w.next() {
		if s.Kind == RemoveVolume {
			t.Errorf("%v: it is the next container's", s)
		}
	}
}
