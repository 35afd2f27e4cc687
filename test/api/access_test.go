package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 4: 1 to 5, 21.
func TestPingAndHealthyNeedNoKey(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	for _, path := range []string{"/ping", "/PING/", "/v1/healthy", "/ping?apikey=wrong"} {
		answer := s.CallAs("", "GET", path, nil)
		answer.Want(t, 200, "OK")
		if answer.Header.Get("Content-Type") == "" || answer.Header.Get("X-Powered-By") != "" {
			t.Errorf("%s: headers are %v", path, answer.Header)
		}
	}
	s.CallAs("", "HEAD", "/ping", nil).Want(t, 200, "")
}

// docs/spec/device-api.md 4: 7 to 9, 11, 23 to 32.
func TestEverythingElseNeedsAKey(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	s.WaitListed()
	key := s.Key()
	f := func(name, method, path, authorization string, want int) {
		t.Helper()
		r := harness.Request{Method: method, Path: path, NoKey: true, Header: map[string]string{}}
		if authorization != "" {
			r.Header["Authorization"] = authorization
		}
		answer := s.Call(r)
		if answer.Status != want || want == 401 && answer.Body != "Unauthorized" {
			t.Errorf("%s: %s %s answered %d %q, want %d", name, method, path, answer.Status, answer.Body, want)
		}
	}
	const device = "/v1/device"
	f("no key", "GET", device, "", 401)
	f("query", "GET", device+"?apikey="+key, "", 200)
	f("bearer", "GET", device, "Bearer "+key, 200)
	f("apikey scheme", "GET", device, "ApiKey "+key, 200)
	f("any case", "GET", device, "bEaReR "+key, 200)
	f("upper case", "GET", device, "APIKEY "+key, 200)
	f("basic", "GET", device, "Basic "+key, 401)
	f("bare", "GET", device, key, 401)
	f("two spaces", "GET", device, "Bearer  "+key, 401)
	f("wrong case of the parameter", "GET", device+"?apiKey="+key, "", 401)
	f("empty query, good header", "GET", device+"?apikey=", "Bearer "+key, 200)
	f("wrong query, good header", "GET", device+"?apikey=nope", "Bearer "+key, 200)
	f("repeated query", "GET", device+"?apikey="+key+"&apikey="+key, "", 401)
	f("prefix of the key", "GET", device, "Bearer "+key[:len(key)-1], 401)
	f("post ping without a key", "POST", "/ping", "", 401)
	f("post ping", "POST", "/ping", "Bearer "+key, 404)
	f("no such path without a key", "GET", "/no-such", "", 401)
	f("no such path", "GET", "/no-such", "Bearer "+key, 404)
	f("wrong method", "PUT", device, "Bearer "+key, 404)
	malformed := s.Call(harness.Request{Method: "POST", Path: "/v1/restart", Body: "{bad", NoKey: true})
	malformed.Want(t, 401, "Unauthorized")
}

func TestDevelopmentModeNeedsNoKey(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"developmentMode": true}})
	for _, path := range []string{"/v2/version", "/v2/version?apikey=wrong"} {
		if answer := s.CallAs("", "GET", path, nil); answer.Status != 200 {
			t.Errorf("GET %s without a key: %d", path, answer.Status)
		}
	}
}

// docs/spec/device-api.md 4: 36 to 46.
func TestServiceKeyReachesItsOwnAppOnly(t *testing.T) {
	f := newFleet(t)
	web, main := f.keyOf(t, "web"), f.keyOf(t, "main")
	if web == main || web == f.Key() {
		t.Fatal("keys are shared")
	}
	before := f.IDs()
	for _, path := range []string{"/v1/device", "/v2/version", "/v2/device/name", "/v2/applications/31/state"} {
		if answer := f.CallAs(web, "GET", path, nil); answer.Status != 200 {
			t.Errorf("GET %s: %d %s", path, answer.Status, answer.Body)
		}
	}
	f.CallAs(web, "POST", "/v1/restart", map[string]any{"appId": 32}).Want(t, 401, harness.Failed("Unauthorized"))
	f.CallAs(web, "POST", "/v1/purge", map[string]any{"appId": 32}).Want(t, 401, harness.Failed("Unauthorized"))
	f.CallAs(web, "POST", "/v1/apps/32/stop", nil).Want(t, 401, "Unauthorized")
	f.CallAs(web, "POST", "/v1/apps/32/start", nil).Want(t, 401, "Unauthorized")
	f.CallAs(web, "GET", "/v1/apps/32", nil).Want(t, 401, harness.Failed("Application is not available"))
	for _, action := range []string{"restart", "purge", "stop-service", "start-service", "restart-service"} {
		f.CallAs(web, "POST", "/v2/applications/32/"+action, nil).Want(t, 401, harness.Failed("Unauthorized"))
	}
	f.CallAs(web, "GET", "/v2/applications/32/state", nil).Want(t, 409, harness.Failed("Application ID does not exist: 32"))
	for _, path := range []string{"/v2/applications/state", "/v2/containerId", "/v2/state/status", "/v2/local/target-state"} {
		answer := f.CallAs(main, "GET", path, nil)
		for _, secret := range []string{`"shop"`, `"web"`, before["web"], web, f.Key()} {
			if answer.Status != 200 || strings.Contains(answer.Body, secret) {
				t.Errorf("GET %s with solo's key: %d, shows %s: %s", path, answer.Status, secret, answer.Body)
			}
		}
		if answer := f.CallAs(f.Key(), "GET", path, nil); path != "/v2/state/status" && (!strings.Contains(answer.Body, "web") || !strings.Contains(answer.Body, "main")) {
			t.Errorf("GET %s with the global key does not show both apps: %s", path, answer.Body)
		}
	}
	f.changed(t, before)
}

// docs/spec/device-api.md 4: 47 to 49.
func TestRegenerateKey(t *testing.T) {
	f := newFleet(t)
	before, global, web := f.IDs(), f.Key(), f.keyOf(t, "web")

	answer := f.CallAs(global, "POST", "/v1/regenerate-api-key", nil)
	if answer.Status != 200 || len(answer.Body) < 16 || answer.Body == global {
		t.Fatalf("regenerate: %d %q", answer.Status, answer.Body)
	}
	f.CallAs(global, "GET", "/v1/device", nil).Want(t, 401, "Unauthorized")
	if got := f.CallAs(answer.Body, "GET", "/v1/device", nil).Status; got != 200 {
		t.Errorf("the new global key: %d", got)
	}
	if got := f.CallAs(web, "GET", "/v1/device", nil).Status; got != 200 {
		t.Errorf("the service's key after a new global key: %d", got)
	}
	f.ForgetKey()
	if f.Key() != answer.Body {
		t.Error("api-key prints another key than the new one")
	}

	fresh := f.CallAs(web, "POST", "/v1/regenerate-api-key", nil)
	if fresh.Status != 200 || fresh.Body == web {
		t.Fatalf("regenerate with a service's key: %d %q", fresh.Status, fresh.Body)
	}
	f.CallAs(web, "GET", "/v1/device", nil).Want(t, 401, "Unauthorized")
	f.CallAs(fresh.Body, "POST", "/v1/restart", map[string]any{"appId": 32}).Want(t, 401, harness.Failed("Unauthorized"))
	if got := f.CallAs(f.Key(), "GET", "/v1/device", nil).Status; got != 200 {
		t.Errorf("the global key after a service's new key: %d", got)
	}
	harness.Until(t, harness.Soon, "web to have its new key", func() error {
		if got := f.Containers()["web"].Env("BALENA_SUPERVISOR_API_KEY"); got != fresh.Body {
			return fmt.Errorf("web has the key %q", got)
		}
		return nil
	})
	f.WaitSettled(harness.Soon)
	now := f.IDs()
	if now["web"] == before["web"] || now["db"] != before["db"] || now["main"] != before["main"] {
		t.Errorf("after a new key of web the containers are %v, were %v", now, before)
	}
	f.Restart()
	f.WaitSettled(harness.Soon)
	if got := f.CallAs(fresh.Body, "GET", "/v1/device", nil).Status; got != http.StatusOK {
		t.Errorf("the service's key after a restart: %d", got)
	}
}

// docs/spec/device-api.md 2.10. Of many calls at the same time with one key, one gets the new key; for the
// others the key is not valid any more.
func TestRegenerateKeyAtTheSameTime(t *testing.T) {
	f := newFleet(t)
	for _, key := range []string{f.Key(), f.keyOf(t, "web")} {
		for range 5 {
			const callers = 16
			answers := make(chan harness.Answer, callers)
			ready := make(chan struct{})
			for range callers {
				go func() {
					<-ready
					answer, err := f.TryCall(harness.Request{Method: "POST", Path: "/v1/regenerate-api-key?apikey=" + key, NoKey: true})
					if err != nil {
						answer.Body = err.Error()
					}
					answers <- answer
				}()
			}
			close(ready)
			fresh := ""
			for range callers {
				switch answer := <-answers; {
				case answer.Status == 200 && fresh == "":
					fresh = answer.Body
				case answer.Status != 401 || answer.Body != "Unauthorized":
					t.Errorf("a call beside others: %d %s", answer.Status, answer.Body)
				}
			}
			if fresh == "" {
				t.Fatal("no call got a new key")
			}
			key = fresh
		}
		if got := f.CallAs(key, "GET", "/v1/device", nil).Status; got != 200 {
			t.Errorf("the last key: %d", got)
		}
	}
}

// docs/spec/device-api.md 4: 22.
func TestLogsHoldNoKeys(t *testing.T) {
	f := newFleet(t)
	keys := []string{f.Key(), f.keyOf(t, "web"), f.keyOf(t, "main"), "deadbeefdeadbeefdeadbeefdeadbeef"}
	for _, key := range keys {
		for _, path := range []string{"/v1/device", "/v2/state/status", "/no-such", "/v2/applications/99/state", "/v1/apps/%zz"} {
			f.Call(harness.Request{Method: "GET", Path: strings.Replace(path, "%zz", "x", 1) + "?apikey=" + key, NoKey: true})
		}
		f.CallAs(key, "POST", "/v2/applications/31/restart-service", map[string]any{"serviceName": "db"})
	}
	f.WaitSettled(harness.Soon)
	log := f.Log()
	if log == "" {
		t.Fatal("the supervisor logs nothing")
	}
	for _, key := range keys {
		if strings.Contains(log, key) {
			t.Errorf("the log holds the key %s", key)
		}
	}
}
