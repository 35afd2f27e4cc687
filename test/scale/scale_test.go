// Package scale_test applies targets of many services and counts what that costs the engine.
package scale_test

import (
	"fmt"
	"maps"
	"slices"
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

// What a step of each kind may cost, in engine calls. The call itself and one look after it; a start
// is a create and a start.
const (
	perInstall = 4.0
	perReplace = 6.0 // stop and remove, where the answer tells enough, before the install
	perRename  = 2.0
	perRemoval = 2.0
	overhead   = 60 // networks, volumes, images, a look here and there
)

// A hundred services are installed, moved to another release, replaced and removed. Calls grow with
// the services by a small factor that is listed here; nothing is asked twice.
func TestHundredServices(t *testing.T) {
	engine := harness.SharedEngine(t)
	image := harness.ServerImage("scale/app:v1").LoadInto(t, engine).Name
	proxy := harness.NewProxy(t, engine)
	s := harness.NewSupervisor(t, harness.Setup{Engine: engine, Socket: proxy.Socket})
	s.Start()
	s.WaitListed()
	step := func(what string, to harness.Target, perService float64) {
		t.Helper()
		before, began := proxy.Counts(), time.Now()
		s.PostTarget(to)
		harness.Until(t, patience, what, s.Idle)
		took := time.Since(began)
		harness.Until(t, patience, what, s.Settled)
		calls := since(proxy, before)
		t.Logf("%s: %v, %d calls, %.2f for each service\n%s", what, took.Round(time.Millisecond), calls, float64(calls)/services, proxy.Since(before))
		if most := int(perService*services) + overhead; calls > most {
			t.Errorf("%s: %d calls for %d services, want at most %d", what, calls, services, most)
		}
	}
	step("install", harness.Target{Apps: []harness.App{city(image, "aaaa1", 1, nil)}}, perInstall)
	step("again", harness.Target{Apps: []harness.App{city(image, "aaaa1", 1, nil)}}, 0)
	step("a new release without changes", harness.Target{Apps: []harness.App{city(image, "bbbb2", 2, nil)}}, perRename)
	step("replace", harness.Target{Apps: []harness.App{city(image, "cccc3", 3, map[string]string{"A": "b"})}}, perReplace)
	if n := len(proxy.Times("GET /events")); n != 1 {
		t.Errorf("%d event streams, want 1: a healthy one was taken for silent", n)
	}
	restarted(t, s, proxy)
	step("remove", harness.Target{}, perRemoval)
}

// restarted starts the process again, which costs a listing and changes nothing.
func restarted(t *testing.T, s *harness.Supervisor, proxy *harness.Proxy) {
	t.Helper()
	ids := s.IDs()
	s.Stop()
	before := proxy.Counts()
	s.Start()
	harness.Until(t, patience, "the target after a restart", s.Settled)
	calls := since(proxy, before)
	t.Logf("restart of the supervisor: %d calls\n%s", calls, proxy.Since(before))
	if calls > services+overhead {
		t.Errorf("%d calls after a restart, want one for each of %d services and %d more", calls, services, overhead)
	}
	if !maps.Equal(ids, s.IDs()) {
		t.Errorf("containers changed: %v to %v", slices.Sorted(maps.Values(ids)), slices.Sorted(maps.Values(s.IDs())))
	}
}

func since(proxy *harness.Proxy, before map[string]int) int {
	total := proxy.Total()
	for n := range maps.Values(before) {
		total -= n
	}
	return total
}
