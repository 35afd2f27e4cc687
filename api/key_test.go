package api

import (
	"testing"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

func TestKeyForms(t *testing.T) {
	r := start(t)
	f := func(status int, query string, headers ...string) {
		t.Helper()
		if got := r.send("GET", "/v2/version"+query, "", headers...); got.status != status {
			t.Errorf("%q %q: %v, want %d", query, headers, got, status)
		}
	}
	const k = globalTestKey
	f(401, "")
	f(200, "?apikey="+k)
	f(200, "?x=1&api%6bey="+k)
	f(200, "", "Authorization: Bearer "+k)
	f(200, "", "Authorization: ApiKey "+k)
	f(200, "", "Authorization: bEaReR "+k)
	f(200, "", "authorization: APIKEY "+k)
	f(401, "", "Authorization: Basic "+k)
	f(401, "", "Authorization: "+k)
	f(401, "", "Authorization: Bearer  "+k)
	f(401, "", "Authorization: Bearer "+k+"-")
	f(401, "?apiKey="+k)
	f(200, "?apikey=", "Authorization: Bearer "+k)
	f(200, "?apikey=wrong", "Authorization: Bearer "+k)
	f(200, "?apikey="+k, "Authorization: Bearer wrong")
	f(401, "?apikey="+k+"&apikey="+k)
	f(200, "?apikey="+k+"&apikey="+k, "Authorization: Bearer "+k)
	f(401, "?apikey="+k+"&apikey[]=x")
	f(401, "?apikey[]="+k)
	f(401, "?apikey[a]="+k)
}

func TestWhoNeedsNoKey(t *testing.T) {
	f := func(name string, managed, development, localMode bool, status int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.facts.Managed, r.facts.DevelopmentMode = managed, development
			r.change(func(s *view.State) { s.LocalMode = localMode })
			for _, key := range []string{"", "wrong"} {
				if got := r.do(key, "POST", "/v1/restart", `{"appId":13}`); got.status != status {
					t.Errorf("key %q: %v, want %d", key, got, status)
				}
			}
			if got := r.do(keyOfA, "POST", "/v1/restart", `{"appId":12}`); got.status != 200 {
				t.Errorf("with a key: %v", got)
			}
		})
	}
	f("managed", true, false, false, 401)
	f("managed development", true, true, false, 401)
	f("managed local mode", true, false, true, 200)
	f("unmanaged", false, false, true, 401)
	f("unmanaged development", false, true, true, 200)
}

func TestKeysAreNeededAfterLocalMode(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.LocalMode = true })
	if got := r.send("GET", "/v1/device", ""); got.status != 200 {
		t.Fatalf("in local mode: %v", got)
	}
	r.change(func(s *view.State) { s.LocalMode = false })
	wantReply(t, r.send("GET", "/v1/device", ""), 401, "Unauthorized")
}

func TestForeignOrigins(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.LocalMode = true })
	f := func(origin string, ok bool) {
		t.Helper()
		for _, path := range []string{"/v1/device", "/v2/version", "/no-such"} {
			got := r.send("GET", path, "", "Origin: "+origin)
			if refused := got.status == 403; refused == ok {
				t.Errorf("%s from %s: %v", path, origin, got)
			}
		}
	}
	f("http://evil.example", false)
	f("null", false)
	f("http://127.0.0.1", false)
	f("http://"+r.address, true)
	wantFailure(t, r.send("POST", "/v1/purge", `{"appId":12}`, asJSON, "Origin: http://evil.example"),
		403, textForeignOrigin)
	r.change(func(s *view.State) { s.LocalMode = false })
	got := r.send("GET", "/v1/device", "", "Origin: http://evil.example", "Authorization: Bearer "+globalTestKey)
	if got.status != 200 {
		t.Errorf("with a key, where one is asked for: %v", got)
	}
}

func TestRegenerate(t *testing.T) {
	r := start(t)
	got := r.do(keyOfA, "POST", "/v1/regenerate-api-key", "{bad")
	wantReply(t, got, 200, "fresh1")
	wantReply(t, r.do(keyOfA, "GET", "/v2/version", ""), 401, "Unauthorized")
	if got := r.do("fresh1", "GET", "/v1/apps/12", ""); got.status != 200 {
		t.Errorf("new key on its own app: %v", got)
	}
	if got := r.do("fresh1", "GET", "/v1/apps/13", ""); got.status != 401 {
		t.Errorf("new key on another app: %v", got)
	}
	// The valid key is replaced, not the wrong one beside it.
	got = r.send("POST", "/v1/regenerate-api-key?apikey=wrong", "", "Authorization: Bearer "+globalTestKey)
	wantReply(t, got, 200, "fresh2")
	r.change(func(s *view.State) { s.LocalMode = true })
	wantFailure(t, r.send("POST", "/v1/regenerate-api-key", ""), 400, textNoKeyToRenew)
	wantFailure(t, r.do("wrong", "POST", "/v1/regenerate-api-key", ""), 400, textNoKeyToRenew)
	if r.made != 2 {
		t.Errorf("%d keys were made, want 2", r.made)
	}
	wantReply(t, r.do("fresh2", "POST", "/v1/regenerate-api-key", ""), 200, "fresh3")
}

// outrun is a keyring whose keys are all replaced by another call after the lookup.
type outrun struct{ Keys }

func (outrun) Regenerate(string) (string, error) { return "", ErrUnknownKey }

func TestSecondRegenerateIsRefused(t *testing.T) {
	r := start(t)
	r.server.handlers.keys = outrun{r.memory}
	for _, key := range []string{globalTestKey, keyOfA} {
		got := r.do(key, "POST", "/v1/regenerate-api-key", "")
		wantReply(t, got, 401, "Unauthorized")
		if got.kind != typeText {
			t.Errorf("content type %s", got.kind)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("apikey=a&apikey=b", "Bearer abc_1")
	f.Add("apikey[]=a", "ApiKey  x")
	f.Fuzz(func(t *testing.T, query, header string) {
		var args fasthttp.Args
		args.Parse(query)
		if got := queryKey(&args); got != "" && got != string(args.Peek("apikey")) {
			t.Errorf("query %q gives key %q", query, got)
		}
		if len(args.PeekMulti("apikey")) > 1 && queryKey(&args) != "" {
			t.Errorf("repeated key in %q is used", query)
		}
		key := headerKey(header)
		for i := range len(key) {
			if !isWord(key[i]) {
				t.Errorf("header %q gives key %q", header, key)
			}
		}
		if key != "" && len(header) != len("Bearer ")+len(key) {
			t.Errorf("header %q gives key %q", header, key)
		}
	})
}
