package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"resin-supervisor/api/overview"
	"resin-supervisor/update/view"
)

func TestServiceActions(t *testing.T) {
	const (
		notThere = "App not found: an app needs to be installed for this endpoint to work.\n\t" +
			"If you've recently moved this device from another app,\n\t" +
			"please push an app and wait for it to be installed first."
		unnamed = "serviceName or imageId parameters were not provided or the app is multi-container. " +
			"Use the v2 service action endpoints."
		missing = "Service not found, a container must exist for this endpoint to work"
	)
	r := start(t)
	for _, verb := range []string{"stop", "start", "restart"} {
		f := func(app, body string, status int, answer, asked string) {
			t.Helper()
			if asked != "" {
				asked = verb + " " + asked
			}
			if verb == "start" {
				asked = strings.TrimSuffix(strings.TrimSuffix(asked, " false"), " true")
			}
			got := r.do(globalTestKey, "POST", "/v2/applications/"+app+"/"+verb+"-service", body)
			if did := r.take(); got.status != status || got.body != answer || did != asked {
				t.Errorf("%s %s %s: %v and %q", verb, app, body, got, did)
			}
		}
		f("13", `{"serviceName":"ui"}`, 200, "OK", "13 ui false")
		f("13", `{"imageId":560,"force":true}`, 200, "OK", "13 db true")
		f("13", `{"imageId":"561"}`, 200, "OK", "13 ui false")
		f("13", `{"imageId":"561","serviceName":"db"}`, 200, "OK", "13 db false")
		f("13", `{}`, 400, unnamed, "")
		f("13", `{"serviceName":""}`, 400, unnamed, "")
		f("13", `{"serviceName":"null"}`, 400, unnamed, "")
		f("13", `{"imageId":0}`, 400, unnamed, "")
		f("13", `{"serviceName":"nope"}`, 404, missing, "")
		f("12", `{"serviceName":"anything"}`, 200, "OK", "12 web false")
		f("99", `{"serviceName":"web"}`, 404, notThere, "")
		f("99", `{}`, 400, unnamed, "")
		f("abc", `{}`, 400, `{"status":"failed","message":"Invalid app id"}`, "")
		f("0", `{}`, 400, `{"status":"failed","message":"Invalid app id"}`, "")
	}
	r.change(func(s *view.State) {
		s.Apps[1].Services = s.Apps[1].Services[:1]
		s.Apps[0].InTarget = false
	})
	wantReply(t, r.do(globalTestKey, "POST", "/v2/applications/13/stop-service", `{"serviceName":"ui"}`),
		404, "Service does not exist in target release")
	wantReply(t, r.do(globalTestKey, "POST", "/v2/applications/12/stop-service", `{"serviceName":"web"}`), 404, notThere)
}

func TestAppsState(t *testing.T) {
	r := start(t)
	wantJSON(t, r.do(keyOfA, "GET", "/v2/applications/state", ""), `{"shop":{"appId":12,"appUuid":"u12","commit":"c12",
		"updateStatus":"done","services":{"web":{"status":"Running","image":"reg/web","downloadProgress":null,"releaseId":112}}}}`)
	f := func(name, want string, edit func(*view.App)) {
		t.Helper()
		r := start(t)
		r.edit(edit)
		got := r.do(keyOfA, "GET", "/v2/applications/state", "")
		var all map[string]AppSummary
		if err := json.Unmarshal([]byte(got.body), &all); err != nil {
			t.Fatal(err)
		}
		app := all["shop"]
		web := app.Services["web"]
		line := fmt.Sprintf("%s %d %s", app.UpdateStatus, len(app.Services), web.Status)
		if web.DownloadProgress != nil {
			line += fmt.Sprintf(" %d", *web.DownloadProgress)
		}
		if line != want {
			t.Errorf("%s: %s, want %s", name, line, want)
		}
	}
	next := func(a *view.App) {
		a.TargetCommit, a.ReleaseID = "next", 113
		a.Services[0].ImageID, a.Services[0].Image = 600, "reg/web2"
	}
	image := func(status string, progress *int) view.Image {
		return view.Image{Name: "reg/web2", ServiceName: "web", ImageID: 600, Status: status, Progress: progress}
	}
	f("image unknown", "downloading 1 Downloading 0", next)
	f("pull", "downloading 1 Downloading 40", func(a *view.App) {
		next(a)
		a.Images = append(a.Images, image("Downloading", percent(40)))
	})
	f("pull at its end", "downloading 1 Downloading 100", func(a *view.App) {
		next(a)
		a.Images = append(a.Images, image("Downloading", percent(100)))
	})
	f("pulled", "downloaded 1 Downloaded", func(a *view.App) {
		next(a)
		a.Images = append(a.Images, image("Downloaded", nil))
	})
	f("installing", "applying changes 1 Installing", func(a *view.App) { a.Containers[0].Status = "Installing" })
	f("awaiting", "applying changes 1 Awaiting handover", func(a *view.App) { a.Containers[0].Status = "Awaiting handover" })
	f("installed", "applying changes 1 Installed", func(a *view.App) { a.Containers[0].Status = "Installed" })
	f("not to run", "done 1 Installed", func(a *view.App) {
		a.Containers[0].Status, a.Services[0].Running = "Installed", false
	})
	f("rejected", "rejected 0 ", func(a *view.App) { a.Rejected = "unmet" })
	f("old container of the same service", "done 1 exited", func(a *view.App) {
		old := a.Containers[0]
		old.Commit, old.CreatedAt = "old", old.CreatedAt.Add(time.Hour)
		a.Containers[0].Status = "exited"
		a.Containers = append(a.Containers, old)
	})
	f("no release", "done 0 ", func(a *view.App) { a.TargetCommit, a.Services = "", nil })
	f("not wanted", " 0 ", func(a *view.App) { a.InTarget = false })
}

func TestAppsOfOneName(t *testing.T) {
	for _, fleet := range []int{0, 1} {
		r := start(t)
		r.change(func(s *view.State) {
			for i := range s.Apps {
				s.Apps[i].Name, s.Apps[i].Class = "twin", "app"
			}
			s.Apps[fleet].Class = "fleet"
		})
		got := r.do(globalTestKey, "GET", "/v2/applications/state", "")
		if !strings.Contains(got.body, fmt.Sprintf(`"appId":%d`, r.state.Apps[fleet].ID)) {
			t.Errorf("fleet app %d is hidden: %v", fleet, got)
		}
	}
}

func TestNoApps(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.Apps = nil })
	for path, want := range map[string]string{
		"/v2/applications/state": `{}`,
		"/v2/containerId":        `{"status":"success","services":{}}`,
		"/v2/state/status": `{"status":"success","appState":"applied","overallDownloadProgress":null,
			"containers":[],"images":[]}`,
	} {
		wantJSON(t, r.do(globalTestKey, "GET", path, ""), want)
	}
}

func TestAppState(t *testing.T) {
	r := start(t)
	get := func(path string) reply { return r.do(globalTestKey, "GET", path, "") }
	wantJSON(t, get("/v2/applications/12/state"),
		`{"commit":"c12","local":{"12":{"services":{"553":{"status":"Running","releaseId":112,"download_progress":null}}}}}`)
	wantFailure(t, get("/v2/applications/12x/state"), 400, "Invalid application ID: 12x")
	wantFailure(t, get("/v2/applications/0/state"), 400, "Invalid application ID: 0")
	wantFailure(t, get("/v2/applications/%31x/state"), 400, "Invalid application ID: 1x")
	wantFailure(t, get("/v2/applications/99/state"), 409, "Application ID does not exist: 99")
	r.edit(func(a *view.App) {
		a.Commit = ""
		a.Images = append(a.Images, view.Image{ImageID: 600, ReleaseID: 113, Status: "Downloading", Progress: percent(40)})
	})
	wantJSON(t, get("/v2/applications/12/state"), `{"local":{"12":{"services":{
		"553":{"status":"Running","releaseId":112,"download_progress":null},
		"600":{"status":"Downloading","releaseId":113,"download_progress":40}}}}}`)
	r.edit(func(a *view.App) {
		older := a.Containers[0]
		older.ReleaseID, older.CreatedAt = 7, older.CreatedAt.Add(-time.Hour)
		a.Containers, a.Images = append(a.Containers, older), nil
	})
	wantJSON(t, get("/v2/applications/12/state"), `{"local":{"12":{"services":{
		"553":{"status":"Handing over","releaseId":7,"download_progress":null}}}}}`)
	r.edit(func(a *view.App) { a.Containers = nil })
	wantFailure(t, get("/v2/applications/12/state"), 409, "Application ID does not exist: 12")
}

func TestStateStatus(t *testing.T) {
	r := start(t)
	id := r.state.Apps[0].Containers[0].ID
	web := `{"name":"reg/web","appId":12,"serviceName":"web","imageId":553,"dockerImageId":"sha256:77aa",
		"status":"Downloaded","downloadProgress":null}`
	box := fmt.Sprintf(`{"status":"Running","serviceName":"web","appId":12,"imageId":553,"serviceId":1553,
		"containerId":%q,"createdAt":"2026-01-02T03:04:05.678Z"}`, id)
	wantJSON(t, r.do(globalTestKey, "GET", "/v2/state/status", ""), `{"status":"success","appState":"applied",
		"overallDownloadProgress":null,"containers":[`+box+`],"images":[`+web+`],"release":"c12"}`)
	r.change(func(s *view.State) {
		s.Applying = true
		s.Apps[0].Images = append(s.Apps[0].Images,
			view.Image{Name: "reg/web2", AppID: 12, ServiceName: "web", ImageID: 600, Status: "Downloading", Progress: percent(40)})
		s.Apps[1].Images = append(s.Apps[1].Images, view.Image{Status: "Downloading", Progress: percent(21)})
	})
	pulled := `{"name":"reg/web2","appId":12,"serviceName":"web","imageId":600,"status":"Downloading","downloadProgress":40}`
	for key, overall := range map[string]string{globalTestKey: "30.5", keyOfA: "40"} {
		wantJSON(t, r.do(key, "GET", "/v2/state/status", ""), `{"status":"success","appState":"applying",
			"overallDownloadProgress":`+overall+`,"containers":[`+box+`],"images":[`+pulled+`,`+web+`],"release":"c12"}`)
	}
	r.change(func(s *view.State) { s.Apps[0].Class, s.Apps[1].Class = "app", "fleet" })
	if got := r.do(globalTestKey, "GET", "/v2/state/status", ""); !strings.Contains(got.body, `"release":"c13"`) {
		t.Errorf("the fleet app is not chosen: %v", got)
	}
	r.change(func(s *view.State) { s.Apps[0].InTarget, s.Apps[1].Class = false, "app" })
	if got := r.do(globalTestKey, "GET", "/v2/state/status", ""); !strings.Contains(got.body, `"release":"c13"`) {
		t.Errorf("an app on its way out is chosen: %v", got)
	}
	r.change(func(s *view.State) { s.Apps[1].Containers, s.Apps[1].Images = nil, nil })
	if got := r.do(globalTestKey, "GET", "/v2/state/status", ""); !strings.Contains(got.body, `"release":"c12"`) {
		t.Errorf("an empty app is chosen: %v", got)
	}
}

func TestContainerID(t *testing.T) {
	r := start(t)
	ids := map[string]string{}
	for _, a := range r.state.Apps {
		for _, c := range a.Containers {
			ids[c.ServiceName] = c.ID
		}
	}
	get := func(query string) reply { return r.do(globalTestKey, "GET", "/v2/containerId"+query, "") }
	wantJSON(t, get(""), fmt.Sprintf(`{"status":"success","services":{"web":%q,"db":%q,"ui":%q}}`, ids["web"], ids["db"], ids["ui"]))
	wantJSON(t, get("?serviceName="), get("").body)
	one := fmt.Sprintf(`{"status":"success","containerId":%q}`, ids["db"])
	wantJSON(t, get("?service=db"), one)
	wantJSON(t, get("?serviceName=db&service=web"), one)
	wantFailure(t, get("?service=nope"), 503, "Could not find service with that name")
	wantFailure(t, r.do(keyOfA, "GET", "/v2/containerId?service=db", ""), 503, "Could not find service with that name")
	r.edit(func(a *view.App) {
		younger := a.Containers[0]
		younger.ID, younger.CreatedAt = "younger", younger.CreatedAt.Add(time.Hour)
		a.Containers = []view.Container{younger, a.Containers[0]}
	})
	wantJSON(t, get("?service=web"), `{"status":"success","containerId":"younger"}`)
	if got := get(""); !strings.Contains(got.body, "younger") {
		t.Errorf("the older container is named: %v", got)
	}
}

func TestDeviceFacts(t *testing.T) {
	r := start(t)
	get := func(path string) reply { return r.do(keyOfA, "GET", path, "") }
	wantJSON(t, get("/v2/local/device-info"), `{"status":"success","info":{"arch":"armv7hf","deviceType":"raspberrypi3"}}`)
	r.memory.mu.Lock()
	r.facts.Arch, r.facts.DeviceType = "", ""
	r.memory.mu.Unlock()
	wantJSON(t, get("/v2/local/device-info"), `{"status":"success","info":{"arch":"unknown","deviceType":"unknown"}}`)
	r.change(func(s *view.State) { s.DeviceName = "" })
	wantJSON(t, get("/v2/device/name"), `{"status":"success","deviceName":"local"}`)
}

func TestLocalTarget(t *testing.T) {
	r := start(t)
	post := func(kind, body string) reply {
		return r.send("POST", "/v2/local/target-state", body, kind, "Authorization: Bearer "+globalTestKey)
	}
	stored := func(want string) {
		t.Helper()
		if string(r.target) != want {
			t.Errorf("stored %s, want %s", r.target, want)
		}
	}
	ok := `{"status":"success","message":"OK"}`
	wantReply(t, post(asJSON, `{"local": {"apps": {}}}`), 200, ok)
	stored(`{"local":{"apps":{}}}`)
	wantReply(t, post(asForm, `local[name]=Bench`), 200, ok)
	stored(`{"local":{"name":"Bench"}}`)
	wantReply(t, post("Content-Type: text/plain", `{"local":{}}`), 200, ok)
	stored(`{}`)
	r.target = nil
	r.err = view.ErrNotLocalMode
	wantFailure(t, post(asJSON, `{}`), 400, "Target state can only set when device is in local mode")
	r.err = &view.InvalidTargetError{Problems: []string{"one", "two"}}
	wantFailure(t, post(asJSON, `{}`), 400, "Invalid target state.\none\ntwo")
	r.err = fmt.Errorf("write target: disk full")
	wantFailure(t, post(asJSON, `{}`), 503, "write target: disk full")
	wantFailure(t, r.do(keyOfA, "GET", "/v2/local/target-state", ""), 503, "write target: disk full")
	stored("")
}

func TestOverview(t *testing.T) {
	r := start(t)
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	r.change(func(s *view.State) {
		s.NextAttempt, s.EngineError, s.Applying = at, "gone", true
		s.LastErrors = []view.Problem{{At: at, Subject: "app shop service web", Step: "start", Reason: "not running", Error: "no space", Retry: at}}
		s.Apps[0].Containers[0].Reason = "image differs"
		s.Apps[0].LockHeld = true
	})
	got := r.do(globalTestKey, "GET", "/supervisor/v1/status", "")
	for _, secret := range []string{"API_KEY", "bar<1>"} {
		if strings.Contains(got.body, secret) {
			t.Errorf("shows %s", secret)
		}
	}
	var o overview.Overview
	if err := json.Unmarshal([]byte(got.body), &o); err != nil {
		t.Fatal(err)
	}
	if time.Since(o.Time).Abs() > time.Minute {
		t.Errorf("time %v", o.Time)
	}
	app := o.Apps[0]
	if o.Apps[1].UserLock != "db" || o.Device.MemoryBytes != 10<<20 || o.Device.CPUCelsius != 48.3 || o.Revision == 0 || time.Since(o.Started) > time.Hour {
		t.Errorf("got %+v, lock of %s, started %v", o.Device, o.Apps[1].UserLock, o.Started)
	}
	line := fmt.Sprint(o.Device.Name, o.Device.SupervisorVersion, o.Synced, o.EngineError, o.Applying, o.NextAttempt.Equal(at),
		len(o.Apps), app.Name, app.UpdateStatus, app.LockHeld, app.Services[0].Name, app.Containers[0].Reason, app.Images[0].Status,
		o.Problems[0])
	want := fmt.Sprint("holy-moon", "20.0.1", true, "gone", true, true, 2, "shop", "done", true, "web", "image differs", "Downloaded",
		overview.Problem{At: at, Subject: "app shop service web", Step: "start", Reason: "not running", Error: "no space", Retry: at})
	if line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

// A release that failed its health gate is shown as aborted, with the services of the previous release.
func TestRolledBackRelease(t *testing.T) {
	r := start(t)
	r.edit(func(a *view.App) { a.TargetCommit, a.RolledBack = "c99", "release c99 failed: web is unhealthy" })
	got := r.do(globalTestKey, "GET", "/v2/applications/state", "").body
	if !strings.Contains(got, `"updateStatus":"aborted"`) || strings.Contains(got, "Downloading") {
		t.Errorf("got %s", got)
	}
	if o := r.do(globalTestKey, "GET", "/supervisor/v1/status", "").body; !strings.Contains(o, "web is unhealthy") {
		t.Errorf("overview does not say why: %s", o)
	}
}
