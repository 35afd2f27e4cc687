// Package scale_test applies targets of many services and counts what that costs the engine.
package scale_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	services = 100
	networks = 10 // services that have a network of the engine; the others need none, which is quicker
	patience = 5 * time.Minute
)

// city is an app of many services that share one image and a volume.
func city(image, commit string, release int, env map[string]string) harness.App {
	app := harness.App{ID: 77, UUID: "5ca1e05ca1e05ca1e05ca1e05ca1e077", Name: "city", Commit: commit, Release: release,
		Volumes: map[string]any{"data": map[string]any{}}}
	for i := range services {
		compose := map[string]any{"volumes": []any{"data:/data"}}
		if i >= networks {
			compose["network_mode"] = "none"
		}
		app.Services = append(app.Services, harness.Service{ID: i + 1, Name: fmt.Sprintf("s%03d", i), ImageID: 5000 + i,
			Image: image, Env: env, Compose: compose})
	}
	return app
}

// What a step of each kind costs for each service: calls that change something, exactly; looks at the
// container, at most: one for a change, and one more for events of it that a busy engine tells late.
var (
	install = cost{changes: 2, looks: 4} // create, start
	replace = cost{changes: 4, looks: 6} // stop and remove before that
	rename  = cost{changes: 1, looks: 2}
	removal = cost{changes: 2, looks: 4}
	nothing cost
)

type cost struct{ changes, looks int }

const overhead = 60 // networks, volumes, images, a look here and there

// A hundred services are installed, moved to another release, replaced and removed. Calls grow with
// the services by a small factor that is listed here; nothing is asked twice.
func TestHundredServices(t *testing.T) {
	image := harness.ServerImage("scale/app:v1").Load(t).Name
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.WaitListed()
	step := func(what string, to harness.Target, each cost) {
		t.Helper()
		before, began := s.Proxy.Counts(), time.Now()
		s.PostTarget(to)
		harness.Until(t, patience, what, s.Idle)
		took := time.Since(began)
		harness.Until(t, patience, what, s.Settled)
		made := since(s.Proxy, before)
		t.Logf("%s: %v, %d changes and %d looks\n%s", what, took.Round(time.Millisecond), made.changes, made.looks, s.Proxy.Since(before))
		if made.changes != each.changes*services {
			t.Errorf("%s: %d changes for %d services, want %d for each", what, made.changes, services, each.changes)
		}
		if most := each.looks*services + overhead; made.looks > most {
			t.Errorf("%s: %d other calls for %d services, want at most %d", what, made.looks, services, most)
		}
	}
	step("install", harness.TargetOf(city(image, "aaaa1", 1, nil)), install)
	step("again", harness.TargetOf(city(image, "aaaa1", 1, nil)), nothing)
	step("a new release without changes", harness.TargetOf(city(image, "bbbb2", 2, nil)), rename)
	step("replace", harness.TargetOf(city(image, "cccc3", 3, map[string]string{"A": "b"})), replace)
	if n := len(s.Proxy.Times("GET /events")); n != 1 && !harness.Busy() {
		t.Errorf("%d event streams, want 1: a healthy one was taken for silent", n)
	}
	restarted(t, s, s.Proxy)
	step("remove", harness.Target{}, removal)
}

// restarted starts the process again, which costs a listing and changes nothing.
func restarted(t *testing.T, s *harness.Supervisor, proxy *harness.Proxy) {
	t.Helper()
	ids := s.IDs()
	s.Stop()
	before := proxy.Counts()
	s.Start()
	harness.Until(t, patience, "the target after a restart", s.Settled)
	made := since(proxy, before)
	t.Logf("restart of the supervisor: %d calls\n%s", made.looks, proxy.Since(before))
	if made.changes != 0 || made.looks > services+overhead {
		t.Errorf("%d changes and %d looks after a restart, want none, and one for each of %d services and %d more", made.changes, made.looks, services, overhead)
	}
	if !maps.Equal(ids, s.IDs()) {
		t.Errorf("containers changed: %v to %v", slices.Sorted(maps.Values(ids)), slices.Sorted(maps.Values(s.IDs())))
	}
}

// since tells what was asked of the engine after an earlier count: changes of containers, and all else.
func since(proxy *harness.Proxy, before map[string]int) (made cost) {
	for call, n := range proxy.Counts() {
		if n -= before[call]; strings.Contains(call, " /containers/") && !strings.HasPrefix(call, "GET ") {
			made.changes += n
		} else {
			made.looks += n
		}
	}
	return made
}
