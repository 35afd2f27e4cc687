package compose_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// engine.md 27: keys that nobody supports give one warning for each service, with all of them in it,
// and change nothing.
func TestUnknownKeysGiveOneWarningForEachService(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("table/app:v1").Load(t)
	odd, strange := image.Service("odd", 1), image.Service("strange", 2)
	odd.Compose = dict{"build": ".", "container_name": "x", "cgroup": "host", "configs": list{"a"}, "cpu_count": 1, "cpu_period": 5,
		"credential_spec": dict{}, "deploy": dict{"replicas": 2}, "env_file": "x", "external_links": list{"a"}, "isolation": "x",
		"links": list{"a"}, "logging": dict{"driver": "none"}, "mem_swappiness": 5, "memswap_limit": 1, "annotations": dict{"a": "b"},
		"platform": "linux/arm", "profiles": list{"a"}, "pull_policy": "always", "runtime": "kata", "scale": 2, "secrets": list{"a"},
		"stdin_open": true, "uts": "host", "volumes_from": list{"a"}, "device_cgroup_rules": list{"c 1:1 r"}, "gpus": "all"}
	strange = strange.Composed("healthcheck", dict{"start_interval": "1s"}).Composed("networks", dict{"default": dict{"priority": 5}})
	first := shop(1, odd, strange, image.Service("plain", 3))
	apply(t, s, harness.TargetOf(first))
	before := s.Containers()
	warnings := func() (lines []string) {
		for _, line := range s.LogLines("part of the composition is ignored") {
			lines = append(lines, fmt.Sprint(line["reason"]))
		}
		return lines
	}
	if lines := warnings(); len(lines) != 2 {
		t.Errorf("%d warnings, want one for each of two services: %q", len(lines), lines)
	}
	all := strings.Join(warnings(), "\n")
	for key := range odd.Compose {
		if !strings.Contains(all, key) {
			t.Errorf("%s is not named in the warnings %s", key, all)
		}
	}
	for _, want := range []string{"service odd: ", "service strange: ", "healthcheck.start_interval", "networks.priority"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not named in the warnings %s", want, all)
		}
	}
	apply(t, s, harness.TargetOf(shop(2, image.Service("odd", 1), image.Service("strange", 2), image.Service("plain", 3))))
	for name, c := range s.Containers() {
		if c.ID != before[name].ID {
			t.Errorf("%s was replaced when keys without effect went", name)
		}
	}
	if n := len(warnings()); n != 2 {
		t.Errorf("%d warnings in the end, want 2", n)
	}
}

// engine.md 62; spec 5.4: services that wait for each other are refused with their names, and what ran goes on
// running.
func TestCycleOfDependenciesIsRefusedByName(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("table/app:v1").Load(t)
	good := shop(1, image.Service("web", 1), image.Service("db", 2), image.Service("cache", 3))
	apply(t, s, harness.TargetOf(good))
	before := s.IDs()
	round := shop(2,
		image.Service("web", 1).Composed("depends_on", list{"db"}).Setting("MODE", "new"),
		image.Service("db", 2).Composed("depends_on", dict{"cache": dict{"condition": "service_healthy"}}),
		image.Service("cache", 3).Composed("network_mode", "service:web").Setting("PORT", "8072"))
	a := s.Post("/v2/local/target-state", dict{s.UUID: harness.TargetOf(round, marker(1, image)).V3()})
	if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "app shop: depends_on cycle: cache -> web -> db -> cache") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	now := s.IDs()
	for name, id := range before {
		if now[name] != id {
			t.Errorf("%s did not go on running", name)
		}
	}
	apply(t, s, harness.TargetOf(good.Released(commit(3), 3), marker(2, image)))
	if s.IDs()["db"] != before["db"] {
		t.Error("db was replaced by a release that changes nothing")
	}
}

// D11: storage_opt is sent as it is; an engine whose storage cannot do it says so, and the other apps
// do not suffer.
func TestStorageOptionReachesTheEngine(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("table/app:v1").Load(t)
	post(t, s, harness.TargetOf(shop(1, image.Service("web", 1).Composed("storage_opt", dict{"size": "1G"})), marker(1, image)))
	harness.Until(t, harness.Soon, "the app beside it and the engine's word", func() error {
		if _, err := s.Engine.Container("mark_10001_1_" + commit(1)); err != nil {
			return err
		}
		if web, made := s.Containers()["web"]; made {
			if got := at("HostConfig/StorageOpt")(inspect(t, s.Engine, "/containers/"+web.ID+"/json")); !sameJSON(got, `{"size":"1G"}`) {
				return fmt.Errorf("the container has %v", got)
			}
			return nil
		}
		if out := s.Overview(); !strings.Contains(out, "storage-opt") {
			return fmt.Errorf("status does not tell why there is no container: %s", out)
		}
		return nil
	})
}

// docs/spec/engine.md 2.5: the device's name is given to new containers and replaces none.
//
// engine.md 10.
func TestRenamedDeviceKeepsItsContainers(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("table/app:v1").Load(t)
	named := func(name string, a harness.App) harness.Target {
		return harness.Target{Name: name, Apps: []harness.App{a}}
	}
	apply(t, s, named("first", shop(1, image.Service("web", 1))))
	before := s.Containers()["web"]
	apply(t, s, named("second", shop(2, image.Service("web", 1), image.Service("late", 2))))
	now := s.Containers()
	if now["web"].ID != before.ID {
		t.Error("the container was replaced for the device's name")
	}
	for name, want := range map[string]string{"web": "first", "late": "second"} {
		for _, variable := range []string{"BALENA_DEVICE_NAME_AT_INIT", "RESIN_DEVICE_NAME_AT_INIT"} {
			if got := now[name].Env(variable); got != want {
				t.Errorf("%s: %s is %q, want %q", name, variable, got, want)
			}
		}
	}
}
