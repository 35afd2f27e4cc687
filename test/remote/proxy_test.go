package remote_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// forward sends a request as the cloud's proxy does (docs/spec/device-api.md 3.2): the key alone in the
// query, the device's name as host, one connection for each, and data as a body of any method.
func (m *managed) forward(t *testing.T, method, path, key string, data any) harness.Answer {
	t.Helper()
	conn := m.Dial()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s?apikey=%s HTTP/1.1\r\nhost: %s.balena:%d\r\n", method, path, key, m.UUID, m.Port)
	body := []byte{}
	if data != nil {
		body, _ = json.Marshal(data)
		fmt.Fprintf(&b, "accept: application/json\r\ncontent-type: application/json\r\ncontent-length: %d\r\n", len(body))
	} else if method != "GET" {
		b.WriteString("content-length: 0\r\n")
	}
	fmt.Fprintf(&b, "Connection: close\r\n\r\n%s", body)
	if _, err := io.WriteString(conn, b.String()); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if rest, _ := io.ReadAll(conn); len(rest) > 0 {
		t.Errorf("%s %s: %d bytes follow the answer", method, path, len(rest))
	}
	return harness.Answer{Status: r.StatusCode, Header: r.Header, Body: string(text)}
}

// relay is what the cloud makes of an answer (docs/spec/device-api.md 3.3).
func relay(a harness.Answer) (status int, body string) {
	const bad = `{"error":"Bad API response from supervisor"}`
	kind := a.Header.Get("Content-Type")
	switch {
	case kind == "":
		return a.Status, ""
	case strings.HasPrefix(kind, "application/json"):
		if !json.Valid([]byte(a.Body)) && a.Body != "" {
			return 500, bad
		}
		return a.Status, a.Body
	case strings.HasPrefix(kind, "text/plain") || strings.HasPrefix(kind, "text/html"):
		if strings.ContainsFunc(a.Body, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n\t\r:'.?!,/-", r)
		}) {
			return 500, bad
		}
		return a.Status, a.Body
	}
	return 500, bad
}

// device-api.md 19, 149, 155; 3.4: what the proxy sends is answered as a local call is, with and
// without data, whatever the method, and the cloud can hand all of it on.
func TestRequestsOfTheProxy(t *testing.T) {
	m := newManaged(t)
	reported := func() (port int, secret string) {
		var at struct {
			Port   int    `json:"api_port"`
			Secret string `json:"api_secret"`
		}
		raw, _ := json.Marshal(m.Cloud().Device(t, m.UUID).State)
		json.Unmarshal(raw, &at)
		return at.Port, at.Secret
	}
	harness.Until(t, harness.Soon, "the report of port and secret", func() error {
		if port, secret := reported(); port != m.Port || secret != m.Key() {
			return fmt.Errorf("reported %d %.6s", port, secret)
		}
		return nil
	})
	_, key := reported()
	data := map[string]any{"force": false, "unused": []int{1}}
	for _, path := range []string{"/ping", "/v1/healthy", "/v1/device", "/v1/apps/32", "/v2/version", "/v2/device/name", "/v2/device/vpn",
		"/v2/applications/state", "/v2/applications/31/state", "/v2/state/status", "/v2/containerId", "/v2/local/device-info",
		"/v2/local/target-state", "/v1/device/host-config", "/v2/device/tags", "/v2/cleanup-volumes"} {
		local := m.Get(path)
		for name, a := range map[string]harness.Answer{
			"without data": m.forward(t, "GET", path, key, nil), "with data": m.forward(t, "GET", path, key, data),
			"with a list": m.forward(t, "GET", path, key, []int{1}),
		} {
			status, body := relay(a)
			if status != local.Status || body != local.Body || a.Header.Get("Content-Type") != local.Header.Get("Content-Type") {
				t.Errorf("GET %s %s: the caller gets %d %s, locally it is %d %s", path, name, status, body, local.Status, local.Body)
			}
		}
		if a := m.forward(t, "HEAD", path, key, nil); a.Status != local.Status || a.Body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.Status, a.Body)
		}
		if a := m.forward(t, "HEAD", path, key, data); a.Status != local.Status || a.Body != "" {
			t.Errorf("HEAD %s with data: %d %q", path, a.Status, a.Body)
		}
	}
	if a := m.forward(t, "GET", "/v1/device", "null", nil); a.Status != 401 || a.Body != "Unauthorized" {
		t.Errorf("a cloud that knows no secret: %d %s", a.Status, a.Body)
	}
	want := func(method, path string, data any, status int, body string) {
		t.Helper()
		a := m.forward(t, method, path, key, data)
		if gotStatus, got := relay(a); gotStatus != status || got != body {
			t.Errorf("%s %s %v: the caller gets %d %q, want %d %q", method, path, data, gotStatus, got, status, body)
		}
	}
	before := m.IDs()
	want("POST", "/v1/update", nil, 204, "")
	want("POST", "/v1/update", map[string]any{"force": true}, 204, "")
	want("POST", "/v1/blink", nil, 200, "OK")
	want("POST", "/v1/restart", nil, 400, "Missing app id")
	want("POST", "/v1/restart", map[string]any{"appId": "31"}, 200, "OK")
	want("POST", "/v1/purge", map[string]any{"appId": 32}, 200, `{"Data":"OK","Error":""}`)
	want("POST", "/v1/apps/32/stop", nil, 200, fmt.Sprintf(`{"containerId":%q}`, m.IDs()["main"]))
	want("POST", "/v1/apps/32/start", map[string]any{}, 200, fmt.Sprintf(`{"containerId":%q}`, m.IDs()["main"]))
	want("POST", "/v2/applications/31/restart", nil, 200, "OK")
	want("POST", "/v2/applications/31/restart-service", map[string]any{"serviceName": "web"}, 200, "OK")
	want("POST", "/v2/applications/31/stop-service", map[string]any{"imageId": 1002}, 200, "OK")
	want("POST", "/v2/applications/31/start-service", map[string]any{"imageId": "1002"}, 200, "OK")
	want("DELETE", "/v1/tcp-ping", nil, 204, "")
	want("DELETE", "/v1/tcp-ping", data, 204, "")
	want("POST", "/v1/tcp-ping", nil, 204, "")
	want("PATCH", "/v2/device/tags", map[string]any{"site": "north"}, 202, `{"status":"success"}`)
	want("PATCH", "/v1/device/host-config", map[string]any{"network": map[string]any{}}, 200, "OK")
	file := m.LockUpdates(31, "db")
	want("POST", "/v1/reboot", nil, 423, `{"Data":"","Error":"Lockfile exists for { appId: 31, service: db }"}`)
	want("POST", "/v1/restart", map[string]any{"appId": 31}, 423, harness.Failed("Lockfile exists for { appId: 31, service: db }"))
	want("POST", "/v1/reboot", map[string]any{"force": true}, 202, `{"Data":"OK","Error":""}`)
	if harness.Exists(file) {
		t.Error("the forced reboot left the lock")
	}
	for name, id := range m.IDs() {
		if before[name] == id {
			t.Errorf("%s was never replaced", name)
		}
	}
	if strings.Contains(m.Log(), key) {
		t.Error("the log holds the key")
	}
}

// device-api.md 148: an error is JSON, or a text that the cloud hands on, or one that has to be
// what it is (docs/spec/device-api.md section 2).
func TestErrorsCanBeRelayed(t *testing.T) {
	m := newManaged(t)
	m.LockUpdates(31, "db")
	key := m.Key()
	for _, c := range []struct {
		method, path string
		data         any
		status       int
	}{
		{"GET", "/no-such", nil, 404}, {"PUT", "/v1/device", nil, 404}, {"DELETE", "/v1/restart", nil, 404},
		{"POST", "/v1/restart", map[string]any{"appId": 99}, 503}, {"POST", "/v1/restart", map[string]any{"appId": "x"}, 400},
		{"POST", "/v1/purge", map[string]any{}, 400}, {"POST", "/v1/purge", map[string]any{"appId": 31}, 423},
		{"POST", "/v1/apps/99/stop", nil, 400}, {"POST", "/v1/apps/abc/stop", nil, 400}, {"POST", "/v1/apps/31/stop", nil, 400},
		{"GET", "/v1/apps/31", nil, 400}, {"GET", "/v1/apps/99", nil, 400}, {"GET", "/v1/apps/%zz", nil, 400},
		{"POST", "/v2/applications/0/restart", nil, 400}, {"POST", "/v2/applications/99/purge", nil, 503},
		{"POST", "/v2/applications/31/stop-service", nil, 400}, {"POST", "/v2/applications/31/stop-service", map[string]any{"serviceName": "no"}, 404},
		{"POST", "/v2/applications/99/stop-service", map[string]any{"serviceName": "no"}, 404},
		{"POST", "/v2/applications/31/restart-service", map[string]any{"serviceName": "web"}, 423},
		{"GET", "/v2/applications/x/state", nil, 400}, {"GET", "/v2/applications/99/state", nil, 409},
		{"GET", "/v2/containerId?serviceName=no&x", nil, 401}, // the query is the proxy's own
		{"PATCH", "/v2/device/tags", map[string]any{"a": 1}, 400}, {"POST", "/v2/journal-logs", map[string]any{"unit": []int{}}, 400},
		{"POST", "/v2/journal-logs", nil, 503}, {"POST", "/v2/local/target-state", map[string]any{}, 400},
		{"POST", "/v1/reboot", nil, 423}, {"POST", "/v1/shutdown", nil, 423},
	} {
		a := m.forward(t, c.method, c.path, key, c.data)
		if a.Status != c.status {
			t.Errorf("%s %s %v: %d %s, want %d", c.method, c.path, c.data, a.Status, a.Body, c.status)
		}
		if status, body := relay(a); status != a.Status || body != a.Body {
			t.Errorf("%s %s %v: the caller gets %d %s instead of %d %s", c.method, c.path, c.data, status, body, a.Status, a.Body)
		}
	}
}
