// Package strategy_test proves how services are replaced, started in order, kept, gated and brought
// back: update strategies, hand-over, dependencies, run state, rollback and reasons, with the built
// binary and a real engine (docs/spec/engine.md 5, 6, 9).
package strategy_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type (
	dict = map[string]any
	list = []any
)

const (
	strategyLabel = "io.balena.update.strategy"
	handoverLabel = "io.balena.update.handover-timeout"
	rollbackLabel = "io.balena.update.rollback-timeout"
	rebootLabel   = "io.balena.update.requires-reboot"
)

// Calls of the engine that tests count or spoil.
const (
	createCall = "POST /containers/create"
	startCall  = "POST /containers/{id}/start"
	pullCall   = "POST /images/create"
)

// checked is a service that is healthy while a file is there.
func checked(s harness.Service, path string) harness.Service {
	return s.Composed("healthcheck", dict{"test": list{"CMD", "/main", "exists", path}, "interval": "200ms", "timeout": "5s", "retries": 2})
}

// byName is the engine's supervised containers.
func byName(t *testing.T, s *harness.Supervisor) map[string]harness.Container {
	t.Helper()
	all, err := s.Engine.Supervised()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]harness.Container{}
	for _, c := range all {
		found[c.Name] = c
	}
	return found
}

// phases is what GET /v2/applications/state says of shop: updateStatus and status by service.
func phases(t *testing.T, s *harness.Supervisor) (string, map[string]string) {
	t.Helper()
	var apps map[string]struct {
		UpdateStatus string
		Services     map[string]struct{ Status string }
	}
	s.Get("/v2/applications/state").JSON(t, &apps)
	services := map[string]string{}
	for name, service := range apps["shop"].Services {
		services[name] = service.Status
	}
	return apps["shop"].UpdateStatus, services
}

// at is when an event came first for a service, in nanoseconds; the test fails when it did not.
func at(t *testing.T, r *harness.Recorder, action, service string) int64 {
	t.Helper()
	seen := r.Of(action, service)
	if len(seen) == 0 {
		t.Fatalf("no event %s of %s", action, service)
	}
	return seen[0].TimeNano
}

// copyOf makes a container like another one, under another name, as someone at the engine would.
func copyOf(t *testing.T, e *harness.Engine, id, name string) string {
	t.Helper()
	var full struct {
		Config, HostConfig json.RawMessage
		NetworkSettings    struct{ Networks json.RawMessage }
	}
	e.Must(t, http.MethodGet, "/containers/"+id+"/json", nil, &full)
	var body map[string]any
	if err := json.Unmarshal(full.Config, &body); err != nil {
		t.Fatal(err)
	}
	delete(body, "Hostname") // it is the id of the other one
	body["HostConfig"] = full.HostConfig
	body["NetworkingConfig"] = dict{"EndpointsConfig": full.NetworkSettings.Networks}
	var made struct{ Id string }
	e.Must(t, http.MethodPost, "/containers/create?name="+name, body, &made)
	return made.Id
}

func contains(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}
