package plan

import (
	"strings"
	"testing"

	"resin-supervisor/update/target"
)

// engine.md 46: a service starts after its dependency, and says what it waits for. A dependency that keeps crashing
// does not block it.
func TestDependencies(t *testing.T) {
	f := func(condition string, status, health string, exit int, waits string) {
		t.Helper()
		w := newWorld(t)
		w.present("web:1")
		w.present("db:1")
		depends := target.Map{"depends_on": map[string]any{"db": map[string]any{"condition": condition}}}
		w.app("u1", 1, "c1", service("web", "web:1", depends), service("db", "db:1", nil))
		w.install("u1")
		for id, c := range w.cur.Containers {
			if c.ServiceName == "web" {
				delete(w.cur.Containers, id)
				continue
			}
			c.Status, c.Running, c.Health, c.ExitCode = status, status == "running", health, exit
		}
		held(w)
		want := "start app shop service web"
		if waits != "" {
			want = "wait app shop service web (waits for db: " + waits + ")"
		}
		got := ""
		for _, s := range w.next() {
			if s.ServiceName() == "web" {
				got = s.String()
			}
		}
		if s, _, _ := strings.Cut(got, " (no container"); s != want {
			t.Errorf("%s with %s/%s/%d: %s, want %s", condition, status, health, exit, got, want)
		}
	}
	f("service_started", "created", "", 0, "it is not started yet")
	f("service_started", "running", "", 0, "")
	f("service_started", "exited", "", 1, "")
	f("service_healthy", "running", "starting", 0, "it is starting")
	f("service_healthy", "running", "unhealthy", 0, "it is unhealthy")
	f("service_healthy", "exited", "unhealthy", 1, "it exited with 1")
	f("service_healthy", "paused", "", 0, "it is paused")
	f("service_healthy", "running", "healthy", 0, "")
	f("service_completed_successfully", "running", "", 0, "it still runs")
	f("service_completed_successfully", "restarting", "", 3, "it is restarting")
	f("service_completed_successfully", "exited", "", 3, "it exited with 3")
	f("service_completed_successfully", "exited", "", 0, "")
}
