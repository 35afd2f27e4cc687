package fakecloud

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"
)

// client speaks to a cloud over TLS, trusting its authority alone.
type client struct {
	*Cloud
	t    *testing.T
	http *http.Client
}

func newClient(t *testing.T) *client {
	c := &client{Cloud: &Cloud{}, t: t}
	_, ca := c.StartTLS(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true}}
	c.ProvisioningKey(7, "fleet")
	return c
}

func (c *client) call(want int, method, path, key, body string, header ...string) (string, http.Header) {
	c.t.Helper()
	r, err := http.NewRequest(method, c.Origin+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != want {
		c.t.Errorf("%s %s %s: %d %s, want %d", method, path, body, res.StatusCode, text, want)
	}
	return string(text), res.Header
}

// What the real server refuses is refused (docs/spec/cloud.md 2.4, 2.5, 4.2, 4.4, 5.4, A.2).
func TestStrict(t *testing.T) {
	c := newClient(t)
	const body = `{"application":7,"uuid":"abc","device_type":"pi","api_key":"key"}`
	c.call(401, "POST", "/device/register", "other", body)
	c.call(400, "POST", "/device/register", "fleet", `{"application":7,"uuid":"abc","device_type":"pi","mac_address":1}`)
	c.call(404, "POST", "/device/register", "fleet", `{"application":7,"uuid":"abc","device_type":"unknown"}`)
	c.call(201, "POST", "/device/register", "fleet", body)
	if text, _ := c.call(409, "POST", "/device/register", "fleet", body); text != `"uuid" must be unique.` {
		t.Errorf("409 says %q", text)
	}
	c.Add("foreign", "foreignkey", 8)
	lookUp := "/v7/device?$select=id&$filter=uuid%20eq%20"
	for _, row := range [][3]string{{"key", "'abc'", `{"d":[{"id":4711}]}`}, {"fleet", "'abc'", `{"d":[{"id":4711}]}`}, {"fleet", "'foreign'", `{"d":[]}`}, {"key", "'foreign'", `{"d":[]}`}} {
		if text, _ := c.call(200, "GET", lookUp+row[1], row[0], ""); strings.TrimSpace(text) != row[2] {
			t.Errorf("look-up of %s with %s: %s", row[1], row[0], text)
		}
	}
	c.call(401, "GET", lookUp+"'abc'", "nokey", "")
	c.call(401, "POST", "/api-key/device/4711/device-key", "key", `{"apiKey":"k2"}`)
	c.call(200, "POST", "/api-key/device/4711/device-key", "fleet", `{"apiKey":"k2"}`)
	c.call(401, "GET", "/device/v3/abc/state", "key", "")
	c.call(401, "GET", "/device/v3/foreign/state", "k2", "")
	_, header := c.call(200, "GET", "/device/v3/abc/state", "k2", "")
	if tag := header.Get("ETag"); !strings.HasPrefix(tag, `W/"`) {
		t.Errorf("ETag %q", tag)
	}
	c.call(304, "GET", "/device/v3/abc/state", "k2", "", "If-None-Match", header.Get("ETag"))
	c.Assign("abc", map[string]any{"name": "n", "config": map[string]any{}, "apps": map[string]any{"app1": map[string]any{"id": 5, "name": "a",
		"releases": map[string]any{"r1": map[string]any{"id": 6, "services": map[string]any{"s": map[string]any{"image": "reg/i@sha256:1"}}}}}}})
	report := func(want int, text string) { t.Helper(); c.call(want, "PATCH", "/device/v3/state", "k2", text) }
	report(400, `{"abc":{"mac_address":null}}`)
	report(400, `{"abc":{"status":1}}`)
	report(401, `{"foreign":{}}`)
	report(401, `{}`)
	apps := func(app, release, image, status string) string {
		return `{"abc":{"apps":{"` + app + `":{"release_uuid":"` + release + `","releases":{"` + release + `":{"update_status":"done","services":{"s":{"image":"` + image + `","status":"` + status + `"}}}}}}}}`
	}
	report(401, apps("app2", "r1", "reg/i", "Running"))
	report(401, apps("app1", "r2", "reg/i", "Running"))
	report(401, apps("app1", "r1", "reg/j", "Running"))
	report(400, strings.Replace(apps("app1", "r1", "reg/i", "Running"), "done", "finished", 1))
	report(200, apps("app1", "r1", "reg/i@sha256:2", "Bored"))
	if s := object(object(object(object(object(c.Device(t, "abc").Apps["app1"])["releases"])["r1"])["services"])["s"]); s["status"] != nil || s["image"] == nil {
		t.Errorf("an unknown status is kept: %v", s)
	}
	report(200, `{"abc":{"supervisor_version":"0123456789012345678901","os_variant":"odd","logs_channel":null,"cpu_usage":null}}`)
	if s := c.Device(t, "abc").State; s["supervisor_version"] != "01234567890123456789" || s["os_variant"] != nil || len(s) != 2 {
		t.Errorf("stored %v", s)
	}
	report(413, `{"abc":{"status":"`+strings.Repeat("x", maxBody)+`"}}`)
	c.call(400, "PATCH", "/device/v3/tags", "k2", `{"abc":{"io.balena.x":"1"}}`)
	c.call(200, "PATCH", "/device/v3/tags", "k2", `{"abc":{"x":"1"}}`)
	c.call(415, "POST", "/device/v2/abc/log-stream", "k2", `{}`)
	c.call(401, "POST", "/device/v2/abc/log-stream", "key", `{}`, "Content-Type", "application/x-ndjson")
	c.call(201, "POST", "/device/v2/abc/log-stream", "k2", "{\"message\":\"m\",\"timestamp\":1}\n", "Content-Type", "application/x-ndjson")
	if lines := c.Logs(); len(lines) != 1 || lines[0].Message != "m" {
		t.Errorf("log lines: %+v", lines)
	}
	c.Change("abc", func(d *Device) { d.Gone = true })
	report(401, `{"abc":{"status":"Idle"}}`)
	c.call(304, "GET", "/device/v3/abc/state", "k2", "")
}

func TestFaults(t *testing.T) {
	c := newClient(t)
	c.Add("abc", "key", 7)
	for name, f := range map[string]Fault{"drop": Drop, "lose": Lose, "truncate": Truncate} {
		c.Break(State, f, 1)
		r, _ := http.NewRequest("GET", c.Origin+"/device/v3/abc/state", nil)
		r.Header.Set("Authorization", "Bearer key")
		if res, err := c.http.Do(r); err == nil {
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%s: an answer came", name)
			}
			res.Body.Close()
		}
	}
	c.Break(State, Status(429, "Retry-After", "3"), 1)
	if _, h := c.call(429, "GET", "/device/v3/abc/state", "key", ""); h.Get("Retry-After") != "3" {
		t.Error("Retry-After is not sent")
	}
	c.Break(State, Huge, 1)
	if text, _ := c.call(200, "GET", "/device/v3/abc/state", "key", ""); len(text) != 100<<20 {
		t.Errorf("%d bytes", len(text))
	}
	c.call(200, "GET", "/device/v3/abc/state", "key", "")
	c.Down()
	if _, err := c.http.Get(c.Origin); err == nil {
		t.Error("a cloud that is down answers")
	}
	c.Up(t)
	c.call(200, "GET", "/device/v3/abc/state", "key", "")
}
