package fault_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 1.11: what needs no engine is answered without one. A device behind a proxy, for
// one, can be given that proxy, as the update locks allow.
func TestDeviceWithoutAnEngine(t *testing.T) {
	for name, socket := range map[string]func(*testing.T, *harness.Engine) string{
		"not there": func(*testing.T, *harness.Engine) string { return "/nowhere/engine.sock" },
		"hanging": func(t *testing.T, e *harness.Engine) string {
			proxy := harness.NewProxy(t, e)
			proxy.Spoil("*", harness.Hang, 0, -1)
			return proxy.Socket
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine := harness.SharedEngine(t)
			s := harness.StartSupervisor(t, harness.Setup{Socket: socket(t, engine)})
			call := func(method, path string, body any, status int) harness.Answer {
				t.Helper()
				got := s.Call(harness.Request{Method: method, Path: path, Body: body})
				if got.Status != status {
					t.Errorf("%s %s: %d %s, want %d", method, path, got.Status, got.Body, status)
				}
				return got
			}
			for _, path := range []string{"/v1/healthy", "/v1/device/host-config", "/v2/version", "/v2/device/name", "/v2/device/vpn",
				"/v2/local/device-info", "/v2/local/target-state", "/metrics", "/supervisor/v1/status"} {
				call(http.MethodGet, path, nil, 200)
			}
			call(http.MethodPost, "/v1/blink", nil, 200)
			call(http.MethodPost, "/v1/tcp-ping", nil, 204)
			call(http.MethodDelete, "/v1/tcp-ping", nil, 204)
			call(http.MethodPost, "/v1/update", nil, 204)
			proxy := map[string]any{"network": map[string]any{"hostname": "kiosk", "proxy": map[string]any{"type": "socks5", "ip": "10.9.8.7", "port": 1080}}}
			call(http.MethodPatch, "/v1/device/host-config", proxy, 200)
			if conf, config := s.ReadFile("boot/system-proxy/redsocks.conf"), s.ReadFile("boot/config.json"); !strings.Contains(conf, "10.9.8.7") || !strings.Contains(config, "kiosk") {
				t.Errorf("the host has %q and %q", conf, config)
			}
			s.LockUpdates(31, "web")
			proxy["network"].(map[string]any)["hostname"] = "shelf"
			call(http.MethodPatch, "/v1/device/host-config", proxy, 423)
			proxy["force"] = true
			call(http.MethodPatch, "/v1/device/host-config", proxy, 200)
			if config := s.ReadFile("boot/config.json"); !strings.Contains(config, "shelf") {
				t.Errorf("after a forced change the host has %q", config)
			}
			call(http.MethodPost, "/v1/regenerate-api-key", nil, 200)
			s.ForgetKey()
			// What is to tell of containers says why it cannot.
			for _, path := range []string{"/v1/device", "/v2/applications/state", "/v2/state/status"} {
				if got := call(http.MethodGet, path, nil, 503); !strings.Contains(got.Body, "the container engine cannot be reached") {
					t.Errorf("%s: %s", path, got.Body)
				}
			}
		})
	}
}

// listPatience is how long after the start requests wait for the engine.
const listPatience = 5 * time.Second

// Issue 10, point 17; docs/spec/device-api.md 1.11: a request that comes before the engine was listed for the
// first time waits for that. On a machine so busy that the start alone takes the time, it is tried again.
func TestRequestsWaitForTheFirstListing(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{WithProxy: true})
	for _, path := range []string{"/v1/device", "/v2/state/status", "/v2/applications/state", "/v2/containerId", "/v2/cleanup-volumes"} {
		harness.Until(t, soon, path, func() error {
			s.Proxy.Spoil("GET /containers/json", harness.Hang, 0, -1)
			began := time.Now()
			s.Start()
			s.Key()
			answers := make(chan harness.Answer, 1)
			go func() {
				got, err := s.TryCall(harness.Request{Method: http.MethodGet, Path: path})
				if err != nil {
					got.Body = err.Error()
				}
				answers <- got
			}()
			early := false
			select {
			case got := <-answers:
				early = true
				answers <- got
			case <-time.After(300 * time.Millisecond):
			}
			s.Proxy.Heal()
			got := <-answers
			took := time.Since(began)
			s.Kill()
			switch {
			case early && took < listPatience, got.Status != 200 && took < listPatience:
				t.Fatalf("%s: %d %s after %v, and the engine had not been listed", path, got.Status, got.Body, took)
			case early || got.Status != 200:
				return errors.New("the machine is too busy")
			}
			return nil
		})
	}
}
