package api

import (
	"os"
	"strings"
	"testing"
)

// concrete is the path of a route with an app id.
func concrete(r route) string { return strings.Replace(r.path, ":appId", "12", 1) }

func TestEveryRouteNeedsAKey(t *testing.T) {
	r := start(t)
	big := `{"appId":12,"serviceName":"web","x":"` + strings.Repeat("x", maxBody) + `"}`
	for _, row := range routes {
		path := concrete(row)
		if row.scope.open {
			for _, key := range []string{"", "wrong"} {
				if got := r.do(key, row.method, path, ""); got.status != 200 {
					t.Errorf("%s %s with key %q: %v", row.method, path, key, got)
				}
			}
		} else {
			for _, key := range []string{"", "wrong"} {
				got := r.do(key, row.method, path, "{bad")
				wantReply(t, got, 401, "Unauthorized")
				if got.kind != typeText {
					t.Errorf("%s: content type %s", path, got.kind)
				}
			}
			wantReply(t, r.send(row.method, path, big, asJSON), 401, "Unauthorized")
		}
		wantReply(t, r.send("PUT", path, ""), 401, "Unauthorized")
		wantFailure(t, r.do(globalTestKey, "PUT", path, ""), 404, "Cannot PUT "+path)
		if row.body == parsed {
			wantFailure(t, r.do(globalTestKey, row.method, path, big), 413, "request entity too large")
			if got := r.do(globalTestKey, row.method, path, "{bad"); got.status != 400 || got.kind != typeJSON {
				t.Errorf("%s %s with a malformed body: %v", row.method, path, got)
			}
		}
	}
	if asked := r.take(); asked != "" {
		t.Errorf("refused requests did something: %s", asked)
	}
	for _, row := range routes {
		if row.body == ignored && !row.scope.open {
			if got := r.do(globalTestKey, row.method, concrete(row), "{bad"); got.status/100 != 2 {
				t.Errorf("%s with an ignored body: %v", row.path, got)
			}
		}
	}
}

func TestEveryRouteAnswersInAnyCaseAndWithASlash(t *testing.T) {
	r := start(t)
	r.memory.keys = map[string]int{globalTestKey: 0}
	for _, row := range routes {
		if row.method == "POST" {
			continue
		}
		path := concrete(row)
		want := r.do(globalTestKey, "GET", path, "")
		for _, p := range []string{strings.ToUpper(path), path + "/"} {
			if got := r.do(globalTestKey, "GET", p, ""); got.status != want.status {
				t.Errorf("GET %s: %v, want %d", p, got, want.status)
			}
		}
		got := r.do(globalTestKey, "HEAD", path, "")
		if got.status != want.status || got.body != "" || got.kind != want.kind {
			t.Errorf("HEAD %s: %v", path, got)
		}
	}
}

func TestScopesOfKeys(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		key, method, path, body string
		status                  int
		want                    string
	}{
		{keyOfA, "GET", "/v2/version", "", 200, `{"status":"success","version":"20.0.1"}`},
		{keyOfA, "GET", "/v2/device/name", "", 200, `{"status":"success","deviceName":"holy-moon"}`},
		{keyOfA, "POST", "/v1/restart", `{"appId":13}`, 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "POST", "/v1/purge", `{"appId":13}`, 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "POST", "/v1/apps/13/stop", "", 401, "Unauthorized"},
		{keyOfA, "POST", "/v1/apps/13/start", "", 401, "Unauthorized"},
		{keyOfA, "GET", "/v1/apps/13", "", 401, `{"status":"failed","message":"Application is not available"}`},
		{keyOfA, "POST", "/v2/applications/13/restart", "", 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "POST", "/v2/applications/13/purge", "", 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "POST", "/v2/applications/13/stop-service", "", 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "POST", "/v2/applications/13/start-service", "", 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "POST", "/v2/applications/13/restart-service", "", 401, `{"status":"failed","message":"Unauthorized"}`},
		{keyOfA, "GET", "/v2/applications/13/state", "", 409, `{"status":"failed","message":"Application ID does not exist: 13"}`},
		{keyOfA, "GET", "/v2/local/target-state", "", 200, `{"status":"success","state":{"local":{"apps":{"12":true,"13":false}}}}`},
		{keyOfA, "GET", "/supervisor/v1/status", "", 401, `{"status":"failed","message":"Unauthorized"}`},
		{globalTestKey, "GET", "/v2/local/target-state", "", 200, `{"status":"success","state":{"local":{"apps":{"12":true,"13":true}}}}`},
	} {
		got := r.do(c.key, c.method, c.path, c.body)
		if got.status != c.status || got.body != c.want {
			t.Errorf("%s %s: %v, want %d %s", c.method, c.path, got, c.status, c.want)
		}
	}
	for _, path := range []string{"/v2/applications/state", "/v2/containerId", "/v2/state/status"} {
		own, all := r.do(keyOfA, "GET", path, ""), r.do(globalTestKey, "GET", path, "")
		for _, foreign := range []string{`"tool"`, `"ui"`, `"db"`, "c13"} {
			if strings.Contains(own.body, foreign) {
				t.Errorf("GET %s shows %s to the key of app 12: %s", path, foreign, own.body)
			}
		}
		if path != "/v2/state/status" && !strings.Contains(all.body, `"ui"`) {
			t.Errorf("GET %s hides app 13 from the global key: %s", path, all.body)
		}
	}
	if got := r.do(keyOfB, "GET", "/v2/state/status", ""); !strings.Contains(got.body, `"release":"c13"`) {
		t.Errorf("app 13 is not shown to its own key: %v", got)
	}
}

// documentedKeys is the table of docs/API.md that says what a service's key may do, by endpoint.
func documentedKeys(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if endpoint, ok := strings.CutPrefix(line, "| `"); ok && len(cells) == 5 {
			endpoint, _, _ = strings.Cut(endpoint, "`")
			table[endpoint] = strings.TrimSpace(cells[2])
		}
	}
	return table
}

// The key of app 12 may do to app 13 what docs/API.md says, on every route.
func TestEveryRouteChecksTheScope(t *testing.T) {
	r := start(t)
	r.facts.Registered = true
	table := documentedKeys(t)
	ask := func(row route, app string) reply {
		r.take()
		path := strings.Replace(row.path, ":appId", app, 1)
		got := r.do(keyOfA, row.method, path, `{"appId":`+app+`,"serviceName":"ui","network":{}}`)
		r.keys[keyOfA] = 12 // one route replaces it
		return got
	}
	for _, row := range routes {
		endpoint := row.method + " " + row.path
		got := ask(row, "13")
		done := r.take()
		bad := true
		switch table[endpoint] {
		case "no key":
			bad = !row.scope.open
		case "device", "own key":
			bad = row.scope.open || got.status == 401
		case "own app":
			own := ask(row, "12")
			bad = got.status != 401 && got.status != 409 || done != "" || own.status/100 != 2
		case "shows own app":
			bad = got.status != 200 || strings.Contains(done, "true true")
			for _, other := range []string{`"tool"`, `"ui"`, `"db"`, "c13", `"13":true`} {
				bad = bad || strings.Contains(got.body, other)
			}
		case "refused":
			bad = got.status != 401 || done != "" || r.do(globalTestKey, row.method, row.path, "").status != 200
		default:
			t.Errorf("docs/API.md says %q of %s", table[endpoint], endpoint)
			continue
		}
		if bad {
			t.Errorf("%s is documented as %q, a key of another app gets %v, and %q was done", endpoint, table[endpoint], got, done)
		}
		delete(table, endpoint)
	}
	for endpoint := range table {
		t.Errorf("docs/API.md has a row for %s, which is not a route", endpoint)
	}
}

func TestMatch(t *testing.T) {
	f := func(pattern, path string, ok bool, want string) {
		t.Helper()
		param, matched := match(pattern, path)
		if matched != ok || param != want && ok {
			t.Errorf("match(%q, %q) = %q, %v", pattern, path, param, matched)
		}
	}
	f("/ping", "/ping", true, "")
	f("/ping", "/PING/", true, "")
	f("/ping", "/ping//", false, "")
	f("/ping", "//ping", false, "")
	f("/ping", "/pin", false, "")
	f("/ping", "", false, "")
	f("/v1/apps/:appId", "/v1/apps/12", true, "12")
	f("/v1/apps/:appId", "/v1/Apps/12/", true, "12")
	f("/v1/apps/:appId", "/v1/apps/", false, "")
	f("/v1/apps/:appId", "/v1/apps", false, "")
	f("/v1/apps/:appId", "/v1/apps/12/stop", false, "")
	f("/v1/apps/:appId/stop", "/v1/apps/12/stop", true, "12")
	f("/v1/apps/:appId/stop", "/v1/apps//stop", false, "")
	f("/v1/apps/:appId/stop", "/v1/apps/a%2Fb/stop/", true, "a%2Fb")
}

func FuzzMatch(f *testing.F) {
	f.Add("/v2/applications/12/STATE/")
	f.Add("//")
	f.Fuzz(func(t *testing.T, path string) {
		for _, row := range routes {
			param, ok := match(row.path, path)
			want, wantOK := matchBySegments(row.path, path)
			if ok != wantOK || ok && param != want {
				t.Errorf("match(%q, %q) = %q, %v; want %q, %v", row.path, path, param, ok, want, wantOK)
			}
		}
	})
}

// matchBySegments does the same as match, more simply.
func matchBySegments(pattern, path string) (param string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(have) == len(want)+1 && have[len(want)] == "" {
		have = have[:len(want)]
	}
	if len(have) != len(want) {
		return "", false
	}
	for i := range want {
		switch {
		case strings.HasPrefix(want[i], ":"):
			if param = have[i]; param == "" {
				return "", false
			}
		case len(want[i]) != len(have[i]) || !strings.EqualFold(want[i], have[i]):
			return "", false
		}
	}
	return param, true
}
