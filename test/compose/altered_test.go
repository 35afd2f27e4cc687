package compose_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// docs/spec/engine.md 4.2: what an engine drops for want of a cgroup controller is said once and never acted
// upon: not at the next poll, not after a restart of the agent.
func TestLimitsThatTheEngineDrops(t *testing.T) {
	engine := harness.EngineWithout(t, "memory", "pids", "cpuset", "cpu")
	engine.Start(t)
	image := harness.ServerImage("altered/app:v1").LoadInto(t, engine)
	limits := map[string]any{"mem_limit": "64m", "mem_reservation": "32m", "pids_limit": 50, "cpuset": "0", "cpu_shares": 512, "cpu_quota": 50000}
	var services []harness.Service
	for i, key := range slices.Sorted(maps.Keys(limits)) {
		services = append(services, image.Service(strings.ReplaceAll(key, "_", "-"), 1+i).Composed(key, limits[key]))
	}
	services = append(services, image.Service("plain", 90))
	s, cloud := harness.NewManaged(t, harness.Setup{Engine: engine, WithProxy: true})
	s.Assign(harness.TargetOf(shop(1, services...)))
	s.Start()
	s.WaitSettled(2 * time.Minute)
	before := s.IDs()
	made := func(want int) {
		t.Helper()
		if got := s.Proxy.Counts()["POST /containers/create"]; got != want {
			t.Errorf("%d containers were made, want %d", got, want)
		}
	}
	said := func(want map[string]int) {
		t.Helper()
		harness.Until(t, harness.Soon, "what is said of the limits", func() error {
			got := map[string]int{}
			for _, l := range cloud.Logs() {
				if _, rest, is := strings.Cut(l.Message, "The engine made service '"); is {
					name, rest, _ := strings.Cut(rest, "' otherwise than asked: ")
					if !strings.HasPrefix(rest, strings.ReplaceAll(name, "-", "_")+": ") || !strings.Contains(rest, "discarded.") {
						t.Errorf("said: %s", l.Message)
					}
					got[name]++
				}
			}
			if !maps.Equal(got, want) {
				return fmt.Errorf("said of %v, want %v", got, want)
			}
			return nil
		})
	}
	each := map[string]int{}
	for _, service := range services[:len(limits)] {
		each[service.Name] = 1
	}
	made(len(services))
	said(each)

	s.Restart()
	s.WaitSettled(harness.Soon)
	polls := len(cloud.Calls(fakecloud.State))
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, polls+2)
	s.WaitSettled(harness.Soon)
	if now := s.IDs(); !maps.Equal(now, before) {
		t.Errorf("containers were %v, are %v", before, now)
	}
	made(len(services))
	said(each)

	// Another value is another wish: that container alone is recreated, once.
	for i := range services {
		if services[i].Name == "mem-limit" {
			services[i] = services[i].Composed("mem_limit", "128m")
		}
	}
	s.Assign(harness.TargetOf(shop(2, services...)))
	s.WaitSettled(harness.Soon)
	now := s.IDs()
	for name, id := range before {
		if (now[name] == id) == (name == "mem-limit") {
			t.Errorf("%s was %.12s, is %.12s", name, id, now[name])
		}
	}
	made(len(services) + 1)
	each["mem-limit"] = 2
	said(each)

	// A restart of the app asks for the same again, and not for what the engine made of it.
	s.Post("/v1/restart", map[string]any{"appId": 31}).Want(t, 200, "OK")
	s.WaitSettled(harness.Soon)
	made(2*len(services) + 1)
	if kept := strings.Count(s.ReadFile("documents/altered.json"), `":[`); kept != len(limits) {
		t.Errorf("differences of %d objects are kept:\n%s", kept, s.ReadFile("documents/altered.json"))
	}
}
