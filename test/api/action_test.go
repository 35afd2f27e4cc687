package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 4: 64 to 66.
// engine.md 61.
func TestRestartRecreatesTheAppsContainers(t *testing.T) {
	f := newFleet(t)
	call := func(path string, body any) {
		t.Helper()
		f.put(t, "web", "/data/kept", "precious")
		before := f.IDs()
		f.Post(path, body).Want(t, 200, "OK")
		// The answer means done: the new containers run already.
		for name, c := range f.Containers() {
			if !c.State.Running || name != "main" && c.ID == before[name] {
				t.Errorf("POST %s %v answered while %s is %s", path, body, name, c.State.Status)
			}
		}
		f.changed(t, before, "web", "db")
		if !f.has(t, "web", "/data/kept") {
			t.Errorf("POST %s lost the volume's data", path)
		}
	}
	call("/v1/restart", map[string]any{"appId": 31})
	call("/v1/restart", map[string]any{"appId": "31"})
	call("/v2/applications/31/restart", nil)
}

// docs/spec/device-api.md 4: 73, 74.
// engine.md 60.
func TestPurgeEmptiesTheAppsVolumes(t *testing.T) {
	f := newFleet(t)
	image := f.Engine.ImageID(t, f.shop.Services[0].Image)
	call := func(path string, body any, want string) {
		t.Helper()
		f.put(t, "web", "/data/gone", "x")
		f.put(t, "main", "/data/kept", "precious")
		before := f.IDs()
		f.Post(path, body).Want(t, 200, want)
		f.changed(t, before, "web", "db")
		if f.has(t, "web", "/data/gone") {
			t.Errorf("POST %s left data", path)
		}
		if !f.has(t, "main", "/data/kept") {
			t.Errorf("POST %s touched the other app's data", path)
		}
		if f.Engine.ImageID(t, f.shop.Services[0].Image) != image {
			t.Errorf("POST %s touched the image", path)
		}
	}
	call("/v1/purge", map[string]any{"appId": 31}, `{"Data":"OK","Error":""}`)
	call("/v2/applications/31/purge", nil, "OK")
}

// docs/spec/device-api.md 4: 70 to 72, 96.
func TestUserLockKeepsActionsOut(t *testing.T) {
	f := newFleet(t)
	locked := harness.Failed("Lockfile exists for { appId: 31, service: db }")
	for _, file := range []string{"updates.lock", "resin-updates.lock"} {
		path := f.LockUpdatesBy(file, 31, "db")
		f.put(t, "web", "/data/kept", "precious")
		before := f.IDs()
		f.Post("/v1/restart", map[string]any{"appId": 31}).Want(t, 423, locked)
		f.Post("/v1/restart", map[string]any{"appId": 31, "force": "yes"}).Want(t, 423, locked)
		f.Post("/v1/purge", map[string]any{"appId": 31}).Want(t, 423, locked)
		f.Post("/v2/applications/31/restart", nil).Want(t, 423, locked)
		f.Post("/v2/applications/31/purge", nil).Want(t, 423, locked)
		for _, action := range []string{"stop-service", "restart-service"} {
			f.Post("/v2/applications/31/"+action, map[string]any{"serviceName": "web"}).Want(t, 423, locked)
		}
		f.Post("/v2/applications/31/start-service", map[string]any{"serviceName": "web"}).Want(t, 200, "OK")
		f.changed(t, before)
		if !harness.Exists(path) || !f.has(t, "web", "/data/kept") {
			t.Errorf("%s: the lock or the data is gone", file)
		}
		for _, force := range []any{true, "on", "TRUE", 1} {
			f.LockUpdatesBy(file, 31, "db")
			before := f.IDs()
			f.Post("/v1/restart", map[string]any{"appId": 31, "force": force}).Want(t, 200, "OK")
			f.changed(t, before, "web", "db")
			if harness.Exists(path) {
				t.Errorf("force %v left the lock", force)
			}
		}
	}
	path := f.LockUpdates(32, "main")
	f.Post("/v1/apps/32/stop", nil).Want(t, 423, harness.Failed("Lockfile exists for { appId: 32, service: main }"))
	if got := f.Post("/v1/apps/32/start", nil).Status; got != 200 {
		t.Errorf("start under a lock: %d", got)
	}
	if got := f.Post("/v1/apps/32/stop", map[string]any{"force": true}).Status; got != 200 || harness.Exists(path) {
		t.Errorf("forced stop: %d, lock still there: %v", got, harness.Exists(path))
	}
}

// containerID is the body of v1 start and stop.
func containerID(id string) string { return fmt.Sprintf(`{"containerId":%q}`, id) }

// docs/spec/device-api.md 4: 79 to 86.
func TestSingleAppStopAndStart(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	id := before["main"]
	f.Post("/v1/apps/32/stop", nil).Want(t, 200, containerID(id))
	if c := f.Containers()["main"]; c.State.Running {
		t.Error("stop answered before the container had stopped")
	}
	if d := f.CallAs(f.Key(), "GET", "/v1/apps/32", nil); d.Status != 200 {
		t.Errorf("GET of a stopped app: %d %s", d.Status, d.Body)
	}
	f.Post("/v1/apps/32/stop", nil).Want(t, 200, containerID(id))
	// A release without changes and passes for the other app leave it stopped.
	f.shop.Commit, f.shop.Release = "aaaa2", 21
	f.Apply(f.target())
	f.shop.Services[1] = f.shop.Services[1].Setting("MODE", "new")
	f.shop.Commit = "aaaa3"
	f.Apply(f.target())
	if c := f.Containers()["main"]; c.State.Running || c.ID != id {
		t.Errorf("main is %s after an apply", c.State.Status)
	}
	f.Post("/v1/apps/32/start", nil).Want(t, 200, containerID(id))
	if c := f.Containers()["main"]; !c.State.Running {
		t.Errorf("main is %s after start", c.State.Status)
	}
	f.Post("/v1/apps/32/start", nil).Want(t, 200, containerID(id))

	ids := f.IDs()
	const multi = "serviceName or imageId parameters were not provided or the app is multi-container. Use the v2 service action endpoints."
	f.Post("/v1/apps/31/stop", nil).Want(t, 400, multi)
	f.Post("/v1/apps/31/start", nil).Want(t, 400, multi)
	f.Get("/v1/apps/31").Want(t, 400, "Some v1 endpoints are only allowed on single-container apps")
	f.Post("/v1/apps/abc/stop", nil).Want(t, 400, "Invalid app id")
	f.Get("/v1/apps/abc").Want(t, 400, "Missing app id")
	f.Get("/v1/apps/99").Want(t, 400, "App not found")
	for _, action := range []string{"stop", "start"} {
		if answer := f.Post("/v1/apps/99/"+action, nil); answer.Status != 400 || !strings.HasPrefix(answer.Body, "App not found:") {
			t.Errorf("%s of an unknown app: %d %s", action, answer.Status, answer.Body)
		}
	}
	f.changed(t, ids)
}

// docs/spec/device-api.md 4: 106.
func TestSingleAppIsShownWithoutItsKeys(t *testing.T) {
	f := newFleet(t)
	var app struct {
		AppID       int `json:"appId"`
		Commit      string
		ContainerID string `json:"containerId"`
		ImageID     string `json:"imageId"`
		ReleaseID   int    `json:"releaseId"`
		Image       string
		Env         map[string]string
	}
	f.Get("/v1/apps/32").JSON(t, &app)
	c := f.Containers()["main"]
	if app.AppID != 32 || app.Commit != "bbbb1" || app.ContainerID != c.ID || app.ReleaseID != 12 || app.ImageID != c.Config.Image {
		t.Errorf("app reads %+v", app)
	}
	if app.Env["BALENA_APP_ID"] != "32" || app.Env["VERSION"] != "v1" {
		t.Errorf("environment reads %v", app.Env)
	}
	for name := range app.Env {
		if strings.HasSuffix(name, "_API_KEY") || strings.HasSuffix(name, "_DEVICE_NAME_AT_INIT") {
			t.Errorf("environment shows %s", name)
		}
	}
}

// docs/spec/device-api.md 4: 87 to 93, 95.
func TestServiceActions(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	post := func(action string, body any) harness.Answer {
		t.Helper()
		return f.Post("/v2/applications/31/"+action, body)
	}
	for _, by := range []any{map[string]any{"serviceName": "web"}, map[string]any{"imageId": 1001}, map[string]any{"imageId": "1001"}} {
		post("stop-service", by).Want(t, 200, "OK")
		for name, c := range f.Containers() {
			if c.ID != before[name] || c.State.Running == (name == "web") {
				t.Errorf("after stop of web by %v, %s is %s", by, name, c.State.Status)
			}
		}
		post("start-service", by).Want(t, 200, "OK")
		f.changed(t, before)
	}
	for _, by := range []any{map[string]any{"serviceName": "web"}, map[string]any{"imageId": 1001}} {
		before := f.IDs()
		post("restart-service", by).Want(t, 200, "OK")
		f.changed(t, before, "web")
	}
	before = f.IDs()
	const unnamed = "serviceName or imageId parameters were not provided or the app is multi-container. Use the v2 service action endpoints."
	for _, action := range []string{"stop-service", "start-service", "restart-service"} {
		for _, body := range []any{nil, map[string]any{}, map[string]any{"serviceName": ""}, map[string]any{"serviceName": "null"}, map[string]any{"imageId": 0}} {
			post(action, body).Want(t, 400, unnamed)
		}
		post(action, map[string]any{"serviceName": "nope"}).Want(t, 404, "Service not found, a container must exist for this endpoint to work")
		if answer := f.Post("/v2/applications/99/"+action, map[string]any{"serviceName": "web"}); answer.Status != 404 || !strings.HasPrefix(answer.Body, "App not found:") {
			t.Errorf("%s in an unknown app: %d %s", action, answer.Status, answer.Body)
		}
		for _, id := range []string{"abc", "0", "1.5"} {
			f.Post("/v2/applications/"+id+"/"+action, map[string]any{"serviceName": "web"}).Want(t, 400, harness.Failed("Invalid app id"))
		}
	}
	f.changed(t, before)
}

// A target that says running:false wins over start (docs/spec/device-api.md 4: 153).
func TestStartLeavesAServiceThatShallNotRun(t *testing.T) {
	f := newFleet(t)
	f.shop.Services[1].Stopped = true
	f.shop.Commit = "aaaa2"
	f.Apply(f.target())
	f.Post("/v2/applications/31/start-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	if c := f.Containers()["db"]; c.State.Running {
		t.Error("db runs although the target says it shall not")
	}
}

// docs/spec/device-api.md 4: 51, 53, 56.
func TestUpdateAnswersAtOnce(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	for range 20 {
		f.Post("/v1/update", nil).Want(t, 204, "")
	}
	f.Post("/v1/update", map[string]any{"force": true, "cancel": true}).Want(t, 204, "")
	f.changed(t, before)
}

// docs/spec/device-api.md 4: 78.
func TestRestartCompletesWithoutItsCaller(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	f.Proxy.Spoil("POST /containers/{id}/stop", harness.Hang, 0, 1)
	conn := f.Dial()
	body, _ := json.Marshal(map[string]any{"appId": 31})
	fmt.Fprintf(conn, "POST /v1/restart?apikey=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", f.Key(), len(body), body)
	f.Proxy.WaitCalls(t, harness.Soon, "POST /containers/{id}/stop", 1)
	conn.Close()
	f.Proxy.Heal()
	harness.Until(t, harness.Soon, "new containers", func() error {
		now := f.IDs()
		if len(now) != 3 || now["web"] == before["web"] || now["db"] == before["db"] {
			return fmt.Errorf("containers are %v", now)
		}
		return nil
	})
	f.changed(t, before, "web", "db")
}
