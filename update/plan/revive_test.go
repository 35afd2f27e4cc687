package plan

import (
	"testing"

	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
)

// engine.md 5.5, 64: the container of the release before runs until every image of the next one is there,
// also when the engine could not start it or the agent stopped it for a release that was never reached.
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
		w.cur.Stops = map[string]current.Stop{c.ID: {Run: c.StartedAt}}
	}, "fetch app shop service db image db:2", "start app shop service db", "save image app shop service web image web:1", "wait app shop service web")
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
