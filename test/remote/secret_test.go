package remote_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// secret is a value that nobody may be told, one for each place and generation.
func secret(place string, generation int) string {
	return fmt.Sprintf("s3sam3-%s-%d", place, generation)
}

// secretive is a release with a secret in each place that may have one.
func (m *managed) secretive(generation int) harness.Target {
	s := func(place string) string { return secret(place, generation) }
	app := m.shop.Released("cccc"+strconv.Itoa(generation), 100+generation)
	web, db := app.Services[0], app.Services[1]
	for _, name := range []string{"DB_PWD", "WIFI_PSK", "JWT", "PIN"} {
		web = web.Setting(name, s(name))
	}
	solo := m.solo.Released(app.Commit, app.Release)
	solo = solo.With(solo.Services[0].Setting("CONNECTION", "Server=db;Uid=me;Pwd="+s("connection")).Setting("ONLY_"+strconv.Itoa(generation), s("only")).
		Labelled("com.example.pin", s("label")).Composed("labels", []any{"com.example.psk=" + s("listed")}).
		Composed("build", map[string]any{"context": ".", "args": map[string]any{"PIN": s("build")}}))
	db = db.Composed("command", []any{"--pin", s("command")}).Composed("environment", map[string]any{"PIN": s("composed")}).
		Composed("entrypoint", "/main --pin "+s("entrypoint")).
		Composed("healthcheck", map[string]any{"test": "/main --pin " + s("healthcheck"), "interval": "1h"})
	app.Volumes = map[string]any{"data": map[string]any{"labels": map[string]any{"pin": s("volume")}}}
	app.Networks = map[string]any{"default": map[string]any{"labels": map[string]any{"pin": s("network")},
		"driver_opts": map[string]any{"com.example.pin": s("option")}, "ipam": map[string]any{"options": map[string]any{"pin": s("ipam")}}}}
	return harness.TargetOf(app.With(web, db), solo)
}

// No value of a variable, a label, a build argument or a command is told by a log, a page or a report, whatever its
// name is: not when it changes, and not when a document has it in the wrong place (docs/spec/engine.md 4.2).
func TestValuesOfServicesAreToldToNobody(t *testing.T) {
	m := newManaged(t)
	for generation := 1; generation <= 3; generation++ {
		m.Assign(m.secretive(generation))
		m.Post("/v1/update", nil).Want(t, 204, "")
		m.WaitSettled(harness.Soon)
	}
	told := m.told(t)
	for _, name := range []string{"environment DB_PWD changed", "environment PIN changed", "environment CONNECTION changed", "environment ONLY_2 removed", "label com.example.pin changed",
		"command changed", "entrypoint changed", "healthcheck changed", "label pin changed", "driver_opts com.example.pin changed"} {
		if !strings.Contains(told, name) {
			t.Errorf("nobody is told: %s", name)
		}
	}
	raw, err := json.Marshal(m.secretive(4).V3())
	if err != nil {
		t.Fatal(err)
	}
	var spoilt map[string]any
	if err := json.Unmarshal(raw, &spoilt); err != nil {
		t.Fatal(err)
	}
	web := spoilt
	for _, key := range []string{"apps", m.shop.UUID, "releases", "cccc4", "services", "web"} {
		web = web[key].(map[string]any)
	}
	web["environment"] = []any{"PIN=" + secret("list", 4)}
	web["labels"] = map[string]any{"PIN=" + secret("key", 4) + " ": "", "pin": []any{secret("value", 4)}}
	m.Cloud().Assign(m.UUID, spoilt)
	m.Post("/v1/update", nil).Want(t, 204, "")
	m.WaitOverview(harness.Soon, "update failed", "Expecting object at apps."+m.shop.UUID)
	m.Call(harness.Request{Method: http.MethodPatch, Path: "/v1/device/host-config",
		Body: map[string]any{"network": map[string]any{"proxy": map[string]any{"type": "socks5", "ip": "10.0.0.9", "port": 1080, "login": []any{secret("login", 4)}}}}})
	told = m.told(t)
	for told != "" {
		at := strings.Index(told, "s3sam3-")
		if at < 0 {
			break
		}
		t.Errorf("told: …%s…", told[max(0, at-120):min(len(told), at+60)])
		told = told[at+1:]
	}
}

// told is all that the device tells: its own log, that in the cloud, its pages, its metrics and its reports.
func (m *managed) told(t *testing.T) string {
	t.Helper()
	_, overview, _ := m.Run("status")
	_, document, _ := m.Run("status", "--json")
	all := m.Log() + strings.Join(m.DeviceLog(), "\n") + overview + document
	for _, path := range []string{"/metrics", "/v1/device", "/v2/state/status", "/v2/applications/state", "/v2/applications/31/state"} {
		all += m.Get(path).Body
	}
	for _, r := range m.Cloud().Calls(fakecloud.Report) {
		all += string(r.Body)
	}
	return all
}
