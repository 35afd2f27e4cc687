package api

import (
	"strings"
	"testing"

	"resin-supervisor/update/view"
)

// The User-Agent of Chromium 148.
const mozilla = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.7778.167 Safari/537.36"

// The headers that Chromium 148 sends, as seen by test/browser. It sends Sec-Fetch headers only to addresses of its own
// machine. DEVICE stands for the address and port of the API.
func TestHeadsOfBrowsers(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.LocalMode = true })
	const evil = "http://evil.example:8000"
	f := func(what string, want int, method, path, host string, headers ...string) {
		t.Helper()
		all := strings.Join(append(headers, ""), "\r\n")
		if !strings.Contains(all, "User-Agent:") {
			all += mozilla + "\r\n"
		}
		got := r.raw(method, method+" "+path+" HTTP/1.1\r\nHost: "+strings.ReplaceAll(host, "DEVICE", r.address)+
			"\r\nConnection: close\r\nContent-Length: 0\r\n"+strings.ReplaceAll(all, "DEVICE", r.address)+"\r\n")
		if got.status != want {
			t.Errorf("%s: %v, want %d", what, got, want)
		}
	}
	const cleanUp, setTarget, read = "/v2/cleanup-volumes", "/v2/local/target-state", "/v1/device"
	r.facts.Managed = true
	f("image, own machine", 403, "GET", cleanUp, "DEVICE", "Referer: "+evil+"/", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: cross-site")
	f("image without a referrer, own machine", 403, "GET", cleanUp, "DEVICE", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: cross-site")
	f("image", 403, "GET", cleanUp, "DEVICE", "Referer: "+evil+"/")
	f("image without a referrer", 403, "GET", cleanUp, "DEVICE")
	f("head without a referrer", 403, "HEAD", cleanUp, "DEVICE")
	f("page of another port", 403, "GET", cleanUp, "DEVICE", "Referer: http://127.0.0.1/", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: same-site")
	f("fetch", 403, "POST", setTarget, "DEVICE", "Origin: "+evil)
	f("form", 403, "POST", setTarget, "DEVICE", "Origin: "+evil, "Referer: "+evil+"/", "Upgrade-Insecure-Requests: 1")
	f("page in a sandbox", 403, "POST", setTarget, "DEVICE", "Origin: null")
	f("link", 403, "GET", read, "DEVICE", "Referer: "+evil+"/a/b?c", "Upgrade-Insecure-Requests: 1")
	f("rebound page that reads", 403, "GET", read, "evil.example:8000", "Referer: "+evil+"/")
	f("rebound page that reads, without a referrer", 403, "GET", read, "evil.example:8000")
	f("rebound page that sets", 403, "POST", setTarget, "evil.example:8000", "Origin: "+evil)
	f("rebound page, secure", 403, "GET", read, "evil.example:8000", "Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin")
	// A script can change Accept-Language, but it cannot remove it.
	f("rebound page with another name for the browser", 403, "GET", cleanUp, "evil.example:8000", "User-Agent: x", "Accept-Language: en-US")
	f("rebound page with empty headers", 403, "GET", cleanUp, "evil.example:8000", "User-Agent: x", "Accept-Language:")
	f("set without a page", 403, "POST", setTarget, "DEVICE")
	f("reboot without a page", 403, "POST", "/v1/reboot", "DEVICE")
	f("tags without a page", 403, "PATCH", "/v2/device/tags", "DEVICE")
	f("stop of the heartbeat without a page", 403, "DELETE", "/v1/tcp-ping", "DEVICE")
	f("name that begins like the device's", 403, "GET", read, "kiosk-3.lan.evil.example")
	f("name with a dot at its end", 403, "GET", read, "evil.example.")
	if asked := r.take(); asked != "" {
		t.Errorf("refused requests did something: %s", asked)
	}

	f("typed, own machine", 200, "GET", read, "DEVICE", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "Sec-Fetch-User: ?1", "Upgrade-Insecure-Requests: 1")
	f("typed clean-up, own machine", 200, "GET", cleanUp, "DEVICE", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none")
	f("typed", 200, "GET", read, "DEVICE", "Upgrade-Insecure-Requests: 1")
	f("typed head", 200, "HEAD", read, "DEVICE", "Accept-Language: en-US")
	f("program that reads", 200, "OPTIONS", cleanUp, "DEVICE")
	f("app of a phone", 200, "POST", setTarget, "DEVICE", "User-Agent: Kiosk/1 CFNetwork/1490.0.4 Darwin/23.2.0", "Accept-Language: en-GB,en;q=0.9")
	f("own page", 200, "GET", cleanUp, "DEVICE", "Referer: http://DEVICE/v1/device")
	f("own page that sets", 200, "POST", setTarget, "DEVICE", "Origin: http://DEVICE", "Referer: http://DEVICE/v1/device")
	for _, host := range []string{"192.168.7.9:48484", "[fe80::1]:48484", "[::1]", "localhost:48484", "pi.localhost", "kiosk-3", "KIOSK-3.Lan:48484",
		"Kiosk.LOCAL:48484", "kiosk.local.", "host.docker.internal:48484", "pi.home.arpa"} {
		f(host, 200, "GET", cleanUp, host, "User-Agent: x", "Accept-Language: en-US")
		f(host, 200, "GET", read, host, "Referer: http://"+host+"/ping")
	}
}

// Programs that are no browsers are served by any name.
func TestHeadsOfOtherPrograms(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.LocalMode = true })
	for program, headers := range map[string]string{
		"curl 8":           "User-Agent: curl/8.5.0\r\nAccept: */*\r\n",
		"fetch of Node 20": "connection: keep-alive\r\naccept: */*\r\naccept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n",
		"the cloud":        "accept: application/json\r\nContent-Length: 0\r\n",
	} {
		for _, host := range []string{"pi.fritz.box:48484", "0123.balena:48484", "evil.example"} {
			for _, path := range []string{"/v1/device", "/v2/cleanup-volumes"} {
				got := r.raw("GET", "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n"+headers+"\r\n")
				if got.status != 200 {
					t.Errorf("%s asks %s for %s: %v", program, host, path, got)
				}
			}
		}
	}
	got := r.raw("GET", "GET /v1/device HTTP/1.0\r\n\r\n")
	if got.status != 200 {
		t.Errorf("a request without a host: %v", got)
	}
	got = r.raw("GET", "GET /v1/device HTTP/1.1\r\nHost: pi.fritz.box\r\n"+mozilla+"\r\n\r\n")
	wantFailure(t, got, 403, textForeignHost("pi.fritz.box"))
}

// A valid key is enough, even on a device that needs none: a foreign page has no key.
func TestBrowsersWithAKey(t *testing.T) {
	r := start(t)
	const foreign = " HTTP/1.1\r\nHost: evil.example\r\nReferer: http://other.example/\r\nOrigin: http://other.example\r\n" + mozilla + "\r\n"
	for _, local := range []bool{false, true} {
		r.change(func(s *view.State) { s.LocalMode = local })
		for _, key := range []string{globalTestKey, keyOfA} {
			for _, request := range []string{"GET /v1/device", "GET /v2/cleanup-volumes", "POST /v1/blink"} {
				if got := r.raw("GET", request+"?apikey="+key+foreign+"\r\n"); got.status != 200 {
					t.Errorf("local mode %t, %s: %v", local, request, got)
				}
				if got := r.raw("GET", request+foreign+"Authorization: Bearer "+key+"\r\n\r\n"); got.status != 200 {
					t.Errorf("local mode %t, %s with a header: %v", local, request, got)
				}
			}
		}
	}
	wantFailure(t, r.raw("GET", "GET /v1/device?apikey=no"+foreign+"\r\n"), 403, textForeignOrigin)
}

// The open endpoints show nothing about the device. They serve everybody, for example monitoring services.
func TestBrowsersAtOpenEndpoints(t *testing.T) {
	r := start(t)
	for _, local := range []bool{false, true} {
		r.change(func(s *view.State) { s.LocalMode = local })
		for _, path := range []string{"/ping", "/v1/healthy"} {
			for _, rest := range []string{"", "Origin: http://evil.example\r\nReferer: http://evil.example/\r\nSec-Fetch-Site: cross-site\r\n"} {
				got := r.raw("GET", "GET "+path+" HTTP/1.1\r\nHost: kiosk.example.com:48484\r\n"+
					"User-Agent: Mozilla/5.0 (compatible; UptimeRobot/2.0)\r\n"+rest+"\r\n")
				if got.status != 200 {
					t.Errorf("local mode %t, %s: %v", local, path, got)
				}
			}
		}
	}
}
