package surface_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 4: 34a. A device that asks for no key serves its user, by all names that are its own, and
// no page of a stranger. The heads are those of Chromium, see api/origin_test.go.
func TestWhereNoKeyIsAskedFor(t *testing.T) {
	resolver := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolver, []byte("search lan.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.RunTool(t, "mount", "--bind", resolver, "/etc/resolv.conf")
	t.Cleanup(func() { harness.TryTool("umount", "/etc/resolv.conf") })
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"developmentMode": true, "hostname": "Kiosk-3"}})
	s.Apply(harness.Target{Name: "holy-moon"})
	engine.Must(t, "POST", "/volumes/create", map[string]any{"Name": "31_old", "Labels": map[string]string{"io.balena.supervised": "true"}}, nil)
	harness.Until(t, harness.Soon, "the volume to be known", s.Settled)

	const browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.7778.167 Safari/537.36"
	ask := func(method, path, host string, header map[string]string, body any) harness.Answer {
		t.Helper()
		if header["User-Agent"] == "" {
			header["User-Agent"] = browser
		}
		return s.Call(harness.Request{Method: method, Path: path, Host: host, Header: header, Body: body, NoKey: true})
	}
	stranger := func(what, method, path, host string, header map[string]string) {
		t.Helper()
		a := ask(method, path, host, header, map[string]any{"local": map[string]any{"name": "taken", "apps": map[string]any{}}})
		if a.Status != 403 || !strings.Contains(a.Body, `"failed"`) {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
		if _, there := engine.Volumes(t)["31_old"]; !there {
			t.Fatalf("%s: the volume is gone", what)
		}
		if a := s.Get("/v2/device/name"); !strings.Contains(a.Body, "holy-moon") {
			t.Fatalf("%s: the target is another one: %s", what, a.Body)
		}
	}
	const cleanUp, target = "/v2/cleanup-volumes", "/v2/local/target-state"
	stranger("image", "GET", cleanUp, "", map[string]string{"Referer": "http://evil.example/", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"})
	stranger("image without a referrer", "GET", cleanUp, "", map[string]string{"Sec-Fetch-Site": "cross-site"})
	stranger("image with a referrer alone", "GET", cleanUp, "", map[string]string{"Referer": "http://evil.example/"})
	stranger("image that says nothing", "GET", cleanUp, "", map[string]string{})
	stranger("page of another port", "GET", cleanUp, "", map[string]string{"Referer": "http://127.0.0.1:8000/"})
	stranger("form", "POST", target, "", map[string]string{"Origin": "null"})
	const evil = "evil.example:48484"
	stranger("rebound form", "POST", target, evil, map[string]string{"Origin": "http://" + evil, "Referer": "http://" + evil + "/"})
	stranger("rebound image", "GET", cleanUp, evil, map[string]string{"Referer": "http://" + evil + "/"})
	stranger("rebound page that reads", "GET", target, evil, map[string]string{})
	stranger("rebound page with another name for the browser", "GET", cleanUp, evil, map[string]string{"User-Agent": "x", "Accept-Language": "en-US"})
	stranger("set without a page", "POST", target, "", map[string]string{})
	stranger("rebound by a name like ours", "POST", target, "kiosk-3.evil.example", map[string]string{"Origin": "http://kiosk-3.evil.example"})

	for _, host := range []string{"192.168.7.9:48484", "[fe80::1]:48484", "localhost:48484", "kiosk", "kiosk-3.local", "KIOSK-3", "kiosk-3.LAN.example:48484", "host.docker.internal"} {
		own := map[string]string{"Origin": "http://" + host, "Referer": "http://" + host + "/v1/device", "Sec-Fetch-Site": "same-origin"}
		if a := ask("POST", "/v1/blink", host, own, nil); a.Status != 200 {
			t.Errorf("the device's own page by the name %s: %d %s", host, a.Status, a.Body)
		}
	}
	if a := ask("GET", "/v1/device", "pi.fritz.box", map[string]string{"User-Agent": "curl/8.5.0"}, nil); a.Status != 200 {
		t.Errorf("curl by any name: %d %s", a.Status, a.Body)
	}
	ask("GET", cleanUp, "pi.fritz.box", map[string]string{"User-Agent": "node", "Sec-Fetch-Mode": "cors"}, nil).Want(t, 200, `{"status":"success"}`)
}
