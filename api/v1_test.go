package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/update/view"
)

// wantJSON compares an answer with JSON, in any order.
func wantJSON(t *testing.T, got reply, want string) {
	t.Helper()
	if got.status != 200 || got.kind != typeJSON || canonical(t, got.body) != canonical(t, want) {
		t.Errorf("got %v (%s), want %s", got, got.kind, want)
	}
}

func canonical(t *testing.T, s string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return string(encode(v))
}

// edit changes the fleet app.
func (r *rig) edit(f func(*view.App)) {
	r.change(func(s *view.State) { s.Apps = slices.Clone(s.Apps); f(&s.Apps[0]) })
}

func percent(n int) *int { return &n }

func TestPingAndHealthy(t *testing.T) {
	r := start(t)
	got := r.do("wrong", "GET", "/ping", "{bad")
	wantReply(t, got, 200, "OK")
	if got.kind != typeText {
		t.Errorf("content type %s", got.kind)
	}
	wantReply(t, r.send("GET", "/v1/healthy", ""), 200, "OK")
	r.memory.sick = true
	wantReply(t, r.send("GET", "/v1/healthy", ""), 500, "Unhealthy")
	wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
}

func TestUpdate(t *testing.T) {
	r := start(t)
	f := func(body string, status int, answer, asked string) {
		t.Helper()
		got := r.do(globalTestKey, "POST", "/v1/update", body)
		if got.status != status || got.body != answer || r.take() != asked {
			t.Errorf("%s: %v", body, got)
		}
	}
	f(``, 204, "", "update false false")
	f(`{"force":true}`, 204, "", "update true false")
	f(`{"force":"yes","cancel":"on"}`, 204, "", "update false true")
	r.ignore = true
	f(`{"cancel":true}`, 202, "Accepted", "update false true")
	f(`{"force":"TRUE"}`, 204, "", "update true false")
}

func TestDevice(t *testing.T) {
	r := start(t)
	wantJSON(t, r.do(globalTestKey, "GET", "/v1/device", ""), `{"api_port":48484,"ip_address":"192.168.7.9",
		"mac_address":"02:00:5E:10:00:01","os_version":"balenaOS 2.100.0","supervisor_version":"20.0.1",
		"update_pending":false,"update_failed":false,"update_downloaded":false,
		"commit":"c12","status":"Idle","download_progress":null}`)
	r.memory.mu.Lock()
	r.memory.facts = DeviceFacts{APIPort: 80, Managed: true}
	r.memory.mu.Unlock()
	r.change(func(s *view.State) { s.Apps, s.Pending, s.Failed, s.Downloaded = nil, true, true, true })
	wantJSON(t, r.do(globalTestKey, "GET", "/v1/device", ""), `{"api_port":80,"os_version":null,
		"supervisor_version":"","update_pending":true,"update_failed":true,"update_downloaded":true,
		"status":"Idle","download_progress":null}`)
}

func TestDeviceStatus(t *testing.T) {
	f := func(name, status string, progress *int, edit func(*view.State)) {
		t.Helper()
		r := start(t)
		r.change(edit)
		var got DeviceState
		answer := r.do(globalTestKey, "GET", "/v1/device", "")
		if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
			t.Fatal(err)
		}
		same := got.DownloadProgress == nil && progress == nil ||
			got.DownloadProgress != nil && progress != nil && *got.DownloadProgress == *progress
		if got.Status != status || !same {
			t.Errorf("%s: %s", name, answer.body)
		}
	}
	app := func(edit func(*view.App)) func(*view.State) { return func(s *view.State) { edit(&s.Apps[0]) } }
	f("settled", "Idle", nil, app(func(*view.App) {}))
	f("downloading beside the old one", "Downloading", percent(36), func(s *view.State) {
		s.Apps[0].Images = append(s.Apps[0].Images,
			view.Image{ImageID: 600, Status: "Downloading", Progress: percent(42)})
		s.Apps[1].Images = append(s.Apps[1].Images,
			view.Image{ImageID: 601, Status: "Downloading", Progress: percent(31)})
	})
	f("stopped by hand", "exited", nil, app(func(a *view.App) { a.Containers[0].Status = "exited" }))
	f("starting", "Starting", nil, app(func(a *view.App) { a.Containers[0].Status = "Starting" }))
	f("stopping first", "Stopping", nil, app(func(a *view.App) {
		a.Containers = append(a.Containers, a.Containers[0])
		a.Containers[0].Status, a.Containers[1].Status = "Starting", "Stopping"
	}))
	f("only an image", "Downloaded", nil, app(func(a *view.App) { a.Containers = nil }))
	f("smallest image id", "exited", nil, app(func(a *view.App) {
		a.Containers = append(a.Containers, view.Container{ImageID: 1, Status: "exited"})
	}))
	f("another app's phase does not count", "Idle", nil, func(s *view.State) { s.Apps[1].Containers[0].Status = "Starting" })
	f("the fleet app, not the smallest id", "exited", nil, func(s *view.State) {
		s.Apps[0].Class, s.Apps[1].Class = "app", "fleet"
		s.Apps[1].Containers[0].Status = "exited"
	})
	f("never the host app", "exited", nil, func(s *view.State) {
		s.Apps[0].IsHost, s.Apps[1].Class = true, "fleet"
		s.Apps[1].Containers[0].Status = "exited"
	})
}

// Right after the start a request waits for the first listing of the engine.
func TestRequestsWaitForTheFirstListing(t *testing.T) {
	r := start(t)
	waits, listed := make(chan struct{}), make(chan struct{})
	r.change(func(s *view.State) { s.Synced = false })
	r.memory.listing = func() <-chan struct{} { close(waits); return listed }
	go func() {
		<-waits
		r.change(func(s *view.State) { s.Synced = true })
		close(listed)
	}()
	if got := r.do(globalTestKey, "GET", "/v1/device", ""); got.status != 200 {
		t.Errorf("%v", got)
	}
}

func TestReadsBeforeTheEngineIsKnown(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.Synced, s.EngineError = false, "no such file" })
	down, asked := "the container engine cannot be reached: no such file", ""
	for _, row := range routes {
		path := concrete(row)
		got := r.do(globalTestKey, row.method, path, `{"appId":12,"serviceName":"web"}`)
		switch path {
		case "/ping", "/v1/healthy", "/v2/version", "/v2/device/name", "/v2/local/device-info", "/v2/local/target-state",
			"/supervisor/v1/status", "/metrics":
			if got.status != 200 {
				t.Errorf("%s: %v", path, got)
			}
		case "/v1/device/host-config", "/v1/blink", "/v1/tcp-ping": // need no engine, or report themselves that they do
			if got.status >= 500 {
				t.Errorf("%s: %v", path, got)
			}
			_ = r.take()
		case "/v1/update":
			wantReply(t, got, 204, "")
			asked += r.take() + ";"
		case "/v2/device/tags":
		case "/v2/device/vpn", "/v2/journal-logs", "/v2/local/logs":
			// need no engine
			if got.status >= 300 {
				t.Errorf("%s: %v", path, got)
			}
			_ = r.take()
		case "/v1/reboot", "/v1/shutdown": // the update loop decides whether it must know the apps first
			if got.status != 202 {
				t.Errorf("%s: %v", path, got)
			}
			asked += r.take() + ";"
		case "/v1/regenerate-api-key":
			if got.status != 200 {
				t.Errorf("%s: %v", path, got)
			}
			r.keys[globalTestKey] = 0
		case "/v2/applications/12/state":
			wantFailure(t, got, 500, "Unable to retrieve state for application ID: 12")
		default:
			wantFailure(t, got, 503, down)
		}
	}
	if asked != "update false false;reboot false;shutdown false;" {
		t.Errorf("asked for %s", asked)
	}
}

func TestAppRead(t *testing.T) {
	r := start(t)
	f := func(path string, status int, answer string) {
		t.Helper()
		wantReply(t, r.do(globalTestKey, "GET", path, ""), status, answer)
	}
	id := r.state.Apps[0].Containers[0].ID
	wantJSON(t, r.do(keyOfA, "GET", "/v1/apps/12", ""), fmt.Sprintf(`{"appId":12,"commit":"c12","containerId":%q,
		"imageId":"sha256:77aa","image":"reg/web","releaseId":112,"env":{"FOO":"bar<1>","BALENA_APP_ID":"12"}}`, id))
	if got := r.do(keyOfA, "GET", "/v1/apps/12", ""); !strings.Contains(got.body, "bar<1>") {
		t.Errorf("text is escaped as for HTML: %v", got)
	}
	if got := r.do(keyOfA, "GET", "/v1/apps/%31%32", ""); got.status != 200 {
		t.Errorf("escaped id: %v", got)
	}
	f("/v1/apps/abc", 400, "Missing app id")
	f("/v1/apps/99", 400, "App not found")
	f("/v1/apps/0", 400, "App not found")
	f("/v1/apps/13", 400, "Some v1 endpoints are only allowed on single-container apps")
	wantFailure(t, r.do(globalTestKey, "GET", "/v1/apps/%zz", ""), 400, "Failed to decode param '%zz'")
	wantFailure(t, r.do(globalTestKey, "GET", "/v1/apps/%ff", ""), 400, "Failed to decode param '%ff'")
	wantReply(t, r.send("GET", "/v1/apps/%zz", ""), 401, "Unauthorized")
	r.edit(func(a *view.App) { a.Containers = nil })
	f("/v1/apps/12", 400, "App not found")
}

func TestStartAndStopV1(t *testing.T) {
	const notThere = "App not found: an app needs to be installed for this endpoint to work.\n\t" +
		"If you've recently moved this device from another app,\n\t" +
		"please push an app and wait for it to be installed first."
	r := start(t)
	ok := fmt.Sprintf(`{"containerId":%q}`, r.state.Apps[0].Containers[0].ID)
	f := func(path, body string, status int, answer, asked string) {
		t.Helper()
		got := r.do(globalTestKey, "POST", path, body)
		if did := r.take(); got.status != status || got.body != answer || did != asked {
			t.Errorf("%s %s: %v and %q, want %d %s and %q", path, body, got, did, status, answer, asked)
		}
	}
	f("/v1/apps/12/stop", ``, 200, ok, "stop 12 web false")
	f("/v1/apps/12/stop", `{"force":"1"}`, 200, ok, "stop 12 web true")
	f("/v1/apps/12/start", `{"serviceName":"x"}`, 200, ok, "start 12 web")
	f("/v1/apps/abc/stop", ``, 400, "Invalid app id", "")
	f("/v1/apps/1.5/start", ``, 400, "Invalid app id", "")
	f("/v1/apps/99/stop", ``, 400, notThere, "")
	f("/v1/apps/0/stop", ``, 400, notThere, "")
	f("/v1/apps/13/stop", `{"serviceName":"db"}`, 400,
		"serviceName or imageId parameters were not provided or the app is multi-container. "+
			"Use the v2 service action endpoints.", "")
	r.err = &view.LockedError{Text: "Lockfile exists for { appId: 12, service: web }"}
	f("/v1/apps/12/stop", ``, 423, `{"status":"failed","message":"Lockfile exists for { appId: 12, service: web }"}`,
		"stop 12 web false")
	r.err = nil
	r.edit(func(a *view.App) { a.Services = nil })
	f("/v1/apps/12/stop", ``, 404, "Service does not exist in target release", "")
	r.edit(func(a *view.App) { a.InTarget = false })
	f("/v1/apps/12/stop", ``, 400, notThere, "")
}

func TestStopAnswersWithTheContainerAfterIt(t *testing.T) {
	r := start(t)
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	answered := make(chan reply, 1)
	go func() { answered <- r.do(globalTestKey, "POST", "/v1/apps/12/stop", "") }()
	<-r.memory.entered
	r.edit(func(a *view.App) { a.Containers = slices.Clone(a.Containers); a.Containers[0].ID = "other" })
	close(r.memory.hold)
	wantReply(t, <-answered, 200, `{"containerId":"other"}`)
}

func TestRestartAndPurge(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		path, body    string
		status        int
		answer, asked string
	}{
		{"/v1/restart", `{"appId":12}`, 200, "OK", "restart 12 false"},
		{"/v1/restart", `{"appId":"12","force":1}`, 200, "OK", "restart 12 true"},
		{"/v1/restart", `{}`, 400, "Missing app id", ""},
		{"/v1/restart", `{"appId":"abc"}`, 400, "Missing app id", ""},
		{"/v1/restart", `{"appId":1.5}`, 400, "Missing app id", ""},
		{"/v1/restart", `{"appId":true}`, 400, "Missing app id", ""},
		{"/v1/restart", `{"appId":99}`, 503, `{"status":"failed","message":"Application with ID 99 is not in the current state"}`, ""},
		{"/v1/purge", `{"appId":12}`, 200, `{"Data":"OK","Error":""}`, "purge 12 false"},
		{"/v1/purge", `{}`, 400, "Invalid or missing appId", ""},
		{"/v2/applications/12/restart", `{"force":"on"}`, 200, "OK", "restart 12 true"},
		{"/v2/applications/12/purge", `{"force":"yes"}`, 200, "OK", "purge 12 false"},
		{"/v2/applications/abc/restart", ``, 400, `{"status":"failed","message":"Missing app id"}`, ""},
		{"/v2/applications/0/restart", ``, 400, `{"status":"failed","message":"Missing app id"}`, ""},
		{"/v2/applications/abc/purge", ``, 400, `{"status":"failed","message":"Missing app id"}`, ""},
		{"/v2/applications/-3/purge", ``, 503, `{"status":"failed","message":"Application with ID -3 is not in the current state"}`, ""},
	} {
		got := r.do(globalTestKey, "POST", c.path, c.body)
		if did := r.take(); got.status != c.status || got.body != c.answer || did != c.asked {
			t.Errorf("%s %s: %v and %q", c.path, c.body, got, did)
		}
	}
}

func TestFailuresOfActions(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{&view.LockedError{Text: "Lockfile exists for { appId: 12, service: web }"}, 423, "Lockfile exists for { appId: 12, service: web }"},
		{fmt.Errorf("restart: %w", &view.LockedError{Text: "Locks for app 12 are being held by another supervisor operation"}),
			423, "Locks for app 12 are being held by another supervisor operation"},
		{view.ErrEngineDown, 503, "the container engine cannot be reached"},
		{view.ErrAborted, 503, "aborted by a newer operation"},
		{fmt.Errorf("stop web: no space"), 503, "stop web: no space"},
	} {
		r := start(t)
		r.err = c.err
		for path, body := range map[string]string{
			"/v1/restart": `{"appId":12}`, "/v1/purge": `{"appId":12}`, "/v1/apps/12/stop": "", "/v1/apps/12/start": "",
			"/v2/applications/12/restart": "", "/v2/applications/12/purge": "",
			"/v2/applications/12/stop-service":    `{"serviceName":"web"}`,
			"/v2/applications/12/start-service":   `{"serviceName":"web"}`,
			"/v2/applications/12/restart-service": `{"serviceName":"web"}`,
		} {
			wantFailure(t, r.do(globalTestKey, "POST", path, body), c.status, c.text)
		}
	}
}

func TestRebootAndShutdown(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		path, body    string
		err           error
		status        int
		answer, asked string
	}{
		{"/v1/reboot", ``, nil, 202, `{"Data":"OK","Error":""}`, "reboot false"},
		{"/v1/shutdown", `{"force":true}`, nil, 202, `{"Data":"OK","Error":""}`, "shutdown true"},
		{"/v1/reboot", `{}`, &view.LockedError{Text: "Waiting for Host OS update to finish"}, 423,
			`{"Data":"","Error":"Waiting for Host OS update to finish"}`, "reboot false"},
		{"/v1/shutdown", `{}`, errors.New("Logind unavailable"), 500, `{"Data":"","Error":"Logind unavailable"}`, "shutdown false"},
	} {
		r.err = c.err
		got := r.do(keyOfA, "POST", c.path, c.body)
		if did := r.take(); got.status != c.status || got.body != c.answer || got.kind != typeJSON || did != c.asked {
			t.Errorf("%s %s: %v and %q", c.path, c.body, got, did)
		}
	}
}

func TestPrivateVariablesAreKnown(t *testing.T) {
	got := slices.Sorted(maps.Keys(publicEnv(settled().Apps[0].Containers[0].Env)))
	if !slices.Equal(got, []string{"BALENA_APP_ID", "FOO"}) {
		t.Errorf("public: %v", got)
	}
}
