package remote_test

import (
	"fmt"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// device-api.md 2, 5, 7 to 9, 11, 23 to 32: a device of a cloud asks for a key.
func TestManagedDeviceAsksForAKey(t *testing.T) {
	m := newManaged(t)
	key := m.Key()
	for _, path := range []string{"/ping", "/v1/healthy", "/ping?apikey=wrong"} {
		m.CallAs("", "GET", path, nil).Want(t, 200, "OK")
	}
	f := func(method, path, authorization string, want int) {
		t.Helper()
		r := harness.Request{Method: method, Path: path, NoKey: true, Header: map[string]string{}}
		if authorization != "" {
			r.Header["Authorization"] = authorization
		}
		if a := m.Call(r); a.Status != want || want == 401 && (a.Body != "Unauthorized" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain")) {
			t.Errorf("%s %s with %q: %d %q, want %d", method, path, authorization, a.Status, a.Body, want)
		}
	}
	const device = "/v1/device"
	f("GET", device, "", 401)
	f("GET", device+"?apikey="+key, "", 200)
	f("GET", device, "Bearer "+key, 200)
	f("GET", device, "ApiKey "+key, 200)
	f("GET", device, "bEaReR "+key, 200)
	f("GET", device, "APIKEY "+key, 200)
	f("GET", device, "Basic "+key, 401)
	f("GET", device, key, 401)
	f("GET", device, "Bearer  "+key, 401)
	f("GET", device+"?apiKey="+key, "", 401)
	f("GET", device+"?apikey=", "Bearer "+key, 200)
	f("GET", device+"?apikey=wrong", "Bearer "+key, 200)
	f("GET", device+"?apikey="+key+"&apikey="+key, "", 401)
	f("GET", device+"?apikey[]="+key, "", 401)
	f("POST", "/ping", "", 401)
	f("POST", "/ping", "Bearer "+key, 404)
	f("GET", "/no-such", "", 401)
	f("GET", "/no-such", "Bearer "+key, 404)
	f("PUT", device, "Bearer "+key, 404)
	m.Call(harness.Request{Method: "POST", Path: "/v1/restart", Body: "{bad", NoKey: true}).Want(t, 401, "Unauthorized")
}

// device-api.md 33, 35, 50, 140 and the refusal of foreign origins: local mode asks for no key, and
// its end asks for one again.
func TestLocalModeAsksForNoKey(t *testing.T) {
	m := newManaged(t)
	m.Post("/v2/local/target-state", map[string]any{"local": map[string]any{"apps": map[string]any{}}}).
		Want(t, 400, harness.Failed("Target state can only set when device is in local mode"))
	m.config["SUPERVISOR_LOCAL_MODE"] = "1"
	m.update(t, nil)
	harness.Until(t, harness.Soon, "local mode", func() error {
		if a := m.CallAs("", "GET", "/v2/version", nil); a.Status != 200 {
			return fmt.Errorf("without a key: %d", a.Status)
		}
		return nil
	})
	for _, key := range []string{"", "wrong", m.Key()} {
		for _, path := range []string{"/v1/device", "/v2/applications/state", "/v2/local/device-info", "/v2/local/target-state"} {
			if a := m.CallAs(key, "GET", path, nil); a.Status != 200 {
				t.Errorf("GET %s with key %.6s: %d %s", path, key, a.Status, a.Body)
			}
		}
	}
	if a := m.CallAs("", "POST", "/v1/regenerate-api-key", nil); a.Status != 400 || !strings.Contains(a.Body, `"failed"`) {
		t.Errorf("a key for nobody: %d %s", a.Status, a.Body)
	}
	// Volumes that the cloud's target will need again are not cleaned up meanwhile (137).
	harness.Until(t, harness.Soon, "the apps of the cloud to go", func() error {
		if left := m.IDs(); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
	m.CallAs("", "GET", "/v2/cleanup-volumes", nil).Want(t, 200, `{"status":"success"}`)
	if _, kept := m.Engine.Volumes(t)["31_data"]; !kept {
		t.Error("a volume of the cloud's target was cleaned up in local mode")
	}
	page := harness.Request{Method: "GET", Path: "/v2/version", NoKey: true, Header: map[string]string{"Origin": "http://evil.example"}}
	if a := m.Call(page); a.Status != 403 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page of another origin in local mode: %d %v", a.Status, a.Header)
	}
	page.Method, page.Path = "POST", "/v1/restart"
	if a := m.Call(page); a.Status != 403 {
		t.Errorf("a page of another origin commands the device: %d", a.Status)
	}
	if a := m.CallAs(m.Key(), "GET", "/v1/device", nil); a.Status != 200 {
		t.Errorf("the key is another one: %d", a.Status)
	}
	delete(m.config, "SUPERVISOR_LOCAL_MODE")
	m.update(t, nil)
	harness.Until(t, harness.Soon, "the end of local mode", func() error {
		if a := m.CallAs("", "GET", "/v2/version", nil); a.Status != 401 {
			return fmt.Errorf("without a key: %d", a.Status)
		}
		return nil
	})
	m.WaitSettled(harness.Soon)
	// Where a key is asked for, the origin is nobody's business, and no page is invited.
	page.Method, page.Path, page.NoKey = "GET", "/v2/version", false
	if a := m.Call(page); a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page with a key: %d %v", a.Status, a.Header)
	}
}

// device-api.md 47, 48: the cloud hears of a new global key and of no other.
func TestCloudHearsOfANewKey(t *testing.T) {
	m := newManaged(t)
	old, web := m.Key(), m.Containers()["web"].Env("BALENA_SUPERVISOR_API_KEY")
	secret := func(want string) func() error {
		return func() error {
			if got := fmt.Sprint(m.Cloud().Device(t, m.UUID).State["api_secret"]); got != want {
				return fmt.Errorf("the cloud knows %.6s, not %.6s", got, want)
			}
			return nil
		}
	}
	harness.Until(t, harness.Soon, "the first report", secret(old))
	a := m.CallAs(old, "POST", "/v1/regenerate-api-key", nil)
	if a.Status != 200 || a.Body == old {
		t.Fatalf("regenerate: %d %s", a.Status, a.Body)
	}
	m.CallAs(old, "GET", "/v1/device", nil).Want(t, 401, "Unauthorized")
	if got := m.CallAs(a.Body, "GET", "/v1/device", nil).Status; got != 200 {
		t.Errorf("the new key: %d", got)
	}
	harness.Until(t, harness.Soon, "the report of the new key", secret(a.Body))
	m.ForgetKey()

	fresh := m.renew(t, web)
	m.CallAs(fresh, "POST", "/v1/restart", map[string]any{"appId": 32}).Want(t, 401, harness.Failed("Unauthorized"))
	for _, r := range m.Cloud().Calls(fakecloud.Report) {
		if strings.Contains(string(r.Body), fresh) || strings.Contains(string(r.Body), web) {
			t.Error("the key of a service was reported")
		}
	}
}

// renew replaces the key of a service, which makes the call itself.
func (m *managed) renew(t *testing.T, key string) (fresh string) {
	t.Helper()
	a := m.CallAs(key, "POST", "/v1/regenerate-api-key", nil)
	if a.Status != 200 || a.Body == key {
		t.Fatalf("regenerate of a service: %d %s", a.Status, a.Body)
	}
	m.CallAs(key, "GET", "/v1/device", nil).Want(t, 401, "Unauthorized")
	return a.Body
}

// hasKey is nil when the container of web runs with a key.
func (m *managed) hasKey(key string) func() error {
	return func() error {
		if c := m.Containers()["web"]; !c.State.Running || c.Env("BALENA_SUPERVISOR_API_KEY") != key {
			return fmt.Errorf("container %.12s is %s with key %.6s, want %.6s", c.ID, c.State.Status, c.Env("BALENA_SUPERVISOR_API_KEY"), key)
		}
		return nil
	}
}

// device-api.md 49: a service gets its new key without anybody asking for anything else; an update lock
// keeps its container, and restart-service brings the new key too.
func TestServiceGetsItsNewKey(t *testing.T) {
	m := newManaged(t)
	before := m.IDs()
	key := func() string { return m.Containers()["web"].Env("BALENA_SUPERVISOR_API_KEY") }
	fresh := m.renew(t, key())
	harness.Until(t, harness.Soon, "web to have its new key", m.hasKey(fresh))
	m.WaitSettled(harness.Soon)
	now := m.IDs()
	if now["web"] == before["web"] || now["db"] != before["db"] || now["main"] != before["main"] {
		t.Errorf("after a new key of web: %v, were %v", now, before)
	}

	m.LockUpdates(31, "db")
	fresh = m.renew(t, key())
	harness.Until(t, harness.Soon, "the update to wait for the lock", m.UpdateFailed)
	if locked := m.IDs(); locked["web"] != now["web"] {
		t.Error("web was replaced although its app is locked")
	}
	m.UnlockUpdates(31, "db")
	harness.Until(t, harness.Soon, "web to have its new key", m.hasKey(fresh))
	m.WaitSettled(harness.Soon)

	m.LockUpdates(31, "db")
	fresh = m.renew(t, key())
	m.Post("/v2/applications/31/restart-service", map[string]any{"serviceName": "web", "force": true}).Want(t, 200, "OK")
	if err := m.hasKey(fresh)(); err != nil {
		t.Errorf("after restart-service: %v", err)
	}
	m.WaitSettled(harness.Soon)
}
