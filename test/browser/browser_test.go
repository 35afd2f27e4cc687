// Package browser_test lets pages of strangers, shown by a real Chromium, do to a device that asks for no key what
// pages can do. It needs what `make test-browser` brings along.
package browser_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"resin-supervisor/test/harness"
)

// envBrowser is what `make test-browser` sets: the program of the browser. Without it the tests are left out.
const envBrowser = "RESIN_BROWSER"

func TestMain(m *testing.M) {
	if os.Getenv(envBrowser) == "" {
		fmt.Println("left out: make test-browser runs them")
		return
	}
	harness.Main(m)
}

// far is an address of the device on its network. Browsers say less to it than to the machine they run on.
const far = "192.168.7.9"

// site is a web server of strangers; it keeps the heads of requests that look for them.
type site struct {
	port  int
	mu    sync.Mutex
	heads []string
}

func newSite(t *testing.T) *site {
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{port: ln.Addr().(*net.TCPAddr).Port}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var head strings.Builder
		fmt.Fprintf(&head, "%s %s\nHost: %s\n", r.Method, r.URL, r.Host)
		r.Header.Write(&head)
		s.mu.Lock()
		s.heads = append(s.heads, head.String())
		s.mu.Unlock()
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>page</title><iframe name=inside></iframe>")
	}))
	t.Cleanup(func() { ln.Close() })
	return s
}

// What a page can do; %s is a URL. Each ends when the answer is there, whether the page may see it or not.
const (
	image = `new Promise(end => { let i = new Image(); i.referrerPolicy = %[2]q; i.onload = i.onerror = () => end('loaded'); i.src = %[1]q })`
	plain = `fetch(%[1]q, {mode: 'no-cors', referrerPolicy: %[2]q}).then(a => a.type, e => String(e))`
	post  = `fetch(%[1]q, {mode: 'no-cors', method: 'POST', referrerPolicy: %[2]q,
		headers: {'Content-Type': 'application/x-www-form-urlencoded'}, body: 'local[name]=taken&local[apps][7][name]=evil'}).then(a => a.type, e => String(e))`
	form = `new Promise(end => { let f = document.createElement('form'); f.method = 'POST'; f.target = 'inside'; f.action = %[1]q; f.rel = %[2]q
		for (let [n, v] of [['local[name]', 'taken'], ['local[apps][7][name]', 'evil']]) { let i = document.createElement('input'); i.name = n; i.value = v; f.append(i) }
		document.body.append(f); document.querySelector('iframe').onload = () => end('sent'); f.submit() })`
	// status is what a page of the same origin gets to see.
	status = `fetch(%[1]q, {referrerPolicy: %[2]q}).then(a => String(a.status), e => String(e))`
	// quiet takes from a request what a script may take from it.
	quiet = `fetch(%[1]q, {referrerPolicy: %[2]q, headers: {'User-Agent': 'x', 'Accept-Language': ''}}).then(a => String(a.status), e => String(e))`
	set   = `fetch(%[1]q, {method: 'POST', referrerPolicy: %[2]q, headers: {'Content-Type': 'application/json'}, body: '{"local":{"name":"taken","apps":{}}}'}).then(a => String(a.status), e => String(e))`
)

var policies = []string{"unsafe-url", "no-referrer"}

// device asks for no key. It has a volume that a clean-up would remove, and a target that could be another one.
func device(t *testing.T) *harness.Supervisor {
	t.Helper()
	harness.RunTool(t, "ip", "addr", "replace", far+"/24", "dev", "lo")
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"developmentMode": true}})
	s.Apply(harness.Target{Name: "holy-moon"})
	engine.Must(t, "POST", "/volumes/create", map[string]any{"Name": "31_old", "Labels": map[string]string{"io.balena.supervised": "true"}}, nil)
	harness.Until(t, harness.Soon, "the volume to be known", s.Settled)
	return s
}

// untouched fails unless the device is as it was.
func untouched(t *testing.T, s *harness.Supervisor, after string) {
	t.Helper()
	if _, there := harness.SharedEngine(t).Volumes(t)["31_old"]; !there {
		t.Fatalf("%s: the volume is gone", after)
	}
	if got := s.Get("/v2/device/name").Body; !strings.Contains(got, "holy-moon") {
		t.Fatalf("%s: the target is another one: %s", after, got)
	}
}

// docs/spec/device-api.md 1.7.
func TestPagesOfStrangers(t *testing.T) {
	s := device(t)
	pages := newSite(t)
	b := start(t, "MAP *.near.test 127.0.0.1, MAP *.far.test "+far)
	for zone, address := range map[string]string{"near": "127.0.0.1", "far": far} {
		api := fmt.Sprintf("http://%s:%d", address, s.Port)
		for _, policy := range policies {
			b.open(fmt.Sprintf("http://evil.%s.test:%d/", zone, pages.port))
			for what, script := range map[string]string{"image": image, "fetch": plain} {
				b.run(script, api+"/v2/cleanup-volumes", policy)
				untouched(t, s, zone+", "+policy+": "+what)
			}
			for what, script := range map[string]string{"post": post, "form": form} {
				b.run(script, api+"/v2/local/target-state", policy)
				untouched(t, s, zone+", "+policy+": "+what)
			}
		}
		// The name of the page leads to the device now: what it asks is asked of its own origin.
		for _, policy := range policies {
			b.open(fmt.Sprintf("http://rebound.%s.test:%d/v2/version", zone, s.Port))
			for path, script := range map[string]string{
				"/v2/local/target-state": status, "/v1/device": status, "/v2/cleanup-volumes": status, "/v2/local/target-state#": set,
				"/v2/cleanup-volumes#": quiet,
			} {
				if got := b.run(script, path, policy); got != "403" {
					t.Errorf("%s, %s: a rebound page asks for %s: %s", zone, policy, path, got)
				}
				untouched(t, s, zone+", "+policy+": rebound "+path)
			}
		}
	}
}

// A user who types an address is served, and so are pages of the device itself and programs by any name.
func TestWhoIsNoStranger(t *testing.T) {
	s := device(t)
	b := start(t, "MAP kiosk.local "+far+", MAP pi.localhost 127.0.0.1")
	for _, host := range []string{"127.0.0.1", "localhost", far, "kiosk.local", "pi.localhost"} {
		b.open(fmt.Sprintf("http://%s:%d/v2/version", host, s.Port))
		if got := b.run("document.body.innerText"); !strings.Contains(got, `"success"`) {
			t.Errorf("%s: a user reads %s", host, got)
		}
		for _, path := range []string{"/v1/device", "/v2/cleanup-volumes"} {
			if got := b.run(status, path, "unsafe-url"); got != "200" {
				t.Errorf("%s: the device's own page asks for %s: %s", host, path, got)
			}
		}
	}
	harness.Until(t, harness.Soon, "the volume to go", func() error {
		if _, there := harness.SharedEngine(t).Volumes(t)["31_old"]; there {
			return errors.New("it is there")
		}
		return nil
	})
	for _, name := range []string{"pi.fritz.box", "evil.example"} {
		a := s.Call(harness.Request{Method: "GET", Path: "/v2/version", NoKey: true, Host: name})
		if a.Status != 200 {
			t.Errorf("a program that calls %s: %d %s", name, a.Status, a.Body)
		}
	}
}

// What the browser says, for the table of api/origin_test.go; shown with -v.
func TestHeadsOfRequests(t *testing.T) {
	device(t)
	pages, other := newSite(t), newSite(t)
	b := start(t, "MAP *.near.test 127.0.0.1, MAP *.far.test "+far)
	for zone, address := range map[string]string{"near": "127.0.0.1", "far": far} {
		to := fmt.Sprintf("http://%s:%d", address, other.port)
		for _, policy := range policies {
			b.open(fmt.Sprintf("http://evil.%s.test:%d/", zone, pages.port))
			for what, script := range map[string]string{"image": image, "fetch": plain, "post": post, "form": form} {
				b.run(script, to+"/"+zone+"/"+policy+"/"+what, policy)
			}
			b.open(fmt.Sprintf("http://rebound.%s.test:%d/%s/%s/typed", zone, other.port, zone, policy))
			b.run(status, "/"+zone+"/"+policy+"/rebound-get", policy)
			b.run(set, "/"+zone+"/"+policy+"/rebound-post", policy)
			b.run(quiet, "/"+zone+"/"+policy+"/rebound-quiet", policy)
		}
		b.open(to + "/" + zone + "/typed")
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	for _, head := range other.heads {
		t.Log(head)
	}
	if len(other.heads) < 20 {
		t.Errorf("%d requests came", len(other.heads))
	}
}
