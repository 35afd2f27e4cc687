package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 1.5, 4: 10, 12 to 15, 67 to 69, 75.
func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	f := newFleet(t)
	before, volumes := f.IDs(), f.Engine.Volumes(t)
	f.put(t, "web", "/data/kept", "precious")
	const v1 = "/v1/restart"
	want := func(path string, body any, status int, text string) {
		t.Helper()
		if answer := f.Post(path, body); answer.Status != status || text != "" && answer.Body != text {
			t.Errorf("POST %s %v: %d %q, want %d %q", path, body, answer.Status, answer.Body, status, text)
		}
	}
	for _, appID := range []any{nil, "abc", 1.5, true, "", "31a", []int{31}, map[string]any{}} {
		want(v1, map[string]any{"appId": appID}, 400, "Missing app id")
		want("/v1/purge", map[string]any{"appId": appID}, 400, "Invalid or missing appId")
	}
	want(v1, nil, 400, "Missing app id")
	want(v1, []any{31}, 400, "Missing app id")
	want("/v1/purge", nil, 400, "Invalid or missing appId")
	for _, action := range []string{"restart", "purge"} {
		for _, id := range []string{"abc", "0", "1.5"} {
			want("/v2/applications/"+id+"/"+action, nil, 400, harness.Failed("Missing app id"))
		}
		want("/v2/applications/99/"+action, nil, 503, harness.Failed("Application with ID 99 is not in the current state"))
		want("/v1/"+action, map[string]any{"appId": 99}, 503, harness.Failed("Application with ID 99 is not in the current state"))
		want("/v1/"+action, map[string]any{"appId": -1}, 503, harness.Failed("Application with ID -1 is not in the current state"))
	}
	for _, body := range []string{"{bad", `{"appId":31`, `{"appId":31}}`, "1", `"x"`, "null", "{\"a\":\x00}", strings.Repeat("[", 100_000)} {
		for _, path := range []string{v1, "/v1/purge", "/v1/update", "/v2/applications/31/restart", "/v2/applications/31/stop-service", "/v2/local/target-state"} {
			answer := f.Post(path, body)
			var e struct{ Status, Message string }
			if json.Unmarshal([]byte(answer.Body), &e) != nil || answer.Status != 400 || e.Status != "failed" || e.Message == "" {
				t.Errorf("POST %s %.20q: %d %q", path, body, answer.Status, answer.Body)
			}
		}
	}
	f.Call(harness.Request{Method: "POST", Path: v1, Body: `{"appId":31}`, Header: map[string]string{"Content-Type": "text/plain"}}).Want(t, 400, "Missing app id")
	if answer := f.Call(harness.Request{Method: "POST", Path: v1, Body: `{"appId":31}`, Header: map[string]string{"Content-Type": "application/json; charset=latin1"}}); answer.Status != 415 {
		t.Errorf("a body in latin1: %d %s", answer.Status, answer.Body)
	}
	f.changed(t, before)
	if len(f.Engine.Volumes(t)) != len(volumes) || !f.has(t, "web", "/data/kept") {
		t.Error("a refused request touched a volume")
	}
}

// docs/spec/device-api.md 4: 15.
func TestFormBodyWorks(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	form := url.Values{"appId": {"31"}}.Encode()
	f.Call(harness.Request{Method: "POST", Path: "/v1/restart", Body: form,
		Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}).Want(t, 200, "OK")
	f.changed(t, before, "web", "db")
}

// docs/spec/device-api.md 4: 16, 17.
func TestBodyLimit(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	answer, err := f.TryCall(harness.Request{Method: "POST", Path: "/v1/restart", Body: `{"x":"` + strings.Repeat("a", 10<<20) + `"}`})
	// A server may close the connection on the client while it still sends.
	if err == nil && (answer.Status != 413 || answer.Body != harness.Failed("request entity too large")) {
		t.Errorf("a body above 10 MiB: %d %.100s", answer.Status, answer.Body)
	}
	big := f.target().V2()
	big["padding"] = strings.Repeat("a", 9<<20)
	if answer := f.Post("/v2/local/target-state", big); answer.Status != 200 {
		t.Errorf("a target of 9 MiB: %d %.200s", answer.Status, answer.Body)
	}
	f.changed(t, before)
}

// docs/spec/device-api.md 4: 141 to 143.
func TestLocalTargetRoundTripAndRefusals(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	var got struct {
		Status string
		State  json.RawMessage
	}
	f.Get("/v2/local/target-state").JSON(t, &got)
	if got.Status != "success" || strings.Contains(string(got.State), f.keyOf(t, "web")) {
		t.Errorf("target reads %s %s", got.Status, got.State)
	}
	f.Post("/v2/local/target-state", string(got.State)).Want(t, 200, `{"status":"success","message":"OK"}`)
	harness.Until(t, harness.Soon, "the posted answer to settle", f.Idle)
	f.changed(t, before)

	edit := func(change func(local, shop, web map[string]any)) map[string]any {
		var doc map[string]any
		data, _ := json.Marshal(f.target().V2())
		json.Unmarshal(data, &doc)
		local := doc["local"].(map[string]any)
		shop := local["apps"].(map[string]any)["31"].(map[string]any)
		change(local, shop, shop["services"].(map[string]any)["1"].(map[string]any))
		return doc
	}
	refused := map[string]any{
		"device name with a newline": edit(func(local, _, _ map[string]any) { local["name"] = "a\nb" }),
		"config value not text":      edit(func(local, _, _ map[string]any) { local["config"] = map[string]any{"A": 1} }),
		"environment value not text": edit(func(_, _, web map[string]any) { web["environment"] = map[string]any{"A": 1} }),
		"environment name":           edit(func(_, _, web map[string]any) { web["environment"] = map[string]any{"A-B": "1"} }),
		"service name":               edit(func(_, _, web map[string]any) { web["serviceName"] = "-web" }),
		"release id missing":         edit(func(_, shop, _ map[string]any) { delete(shop, "releaseId") }),
		"image missing":              edit(func(_, _, web map[string]any) { delete(web, "image") }),
		"image of a wrong type":      edit(func(_, _, web map[string]any) { web["image"] = 5 }),
		"labels of a wrong type":     edit(func(_, _, web map[string]any) { web["labels"] = "x" }),
		"services null inside":       edit(func(_, shop, _ map[string]any) { shop["services"] = map[string]any{"1": nil} }),
		"app null":                   edit(func(local, _, _ map[string]any) { local["apps"] = map[string]any{"31": nil} }),
		"apps of a wrong type":       edit(func(local, _, _ map[string]any) { local["apps"] = []any{} }),
		"app key not canonical":      edit(func(local, shop, _ map[string]any) { local["apps"] = map[string]any{"01": shop} }),
		"app key a uuid":             edit(func(local, shop, _ map[string]any) { local["apps"] = map[string]any{"5aa0c0ffee5aa0c0": shop} }),
		"volume of a wrong type":     edit(func(_, shop, _ map[string]any) { shop["volumes"] = map[string]any{"data": 1} }),
		"local of a wrong type":      map[string]any{"local": 7},
	}
	for name, doc := range refused {
		answer := f.Post("/v2/local/target-state", doc)
		var e struct{ Status, Message string }
		if answer.Status != 400 || json.Unmarshal([]byte(answer.Body), &e) != nil || e.Status != "failed" ||
			!strings.HasPrefix(e.Message, "Invalid target state.") {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	v3 := map[string]any{f.UUID: f.target().V3()}
	if answer := f.Post("/v2/local/target-state", v3); answer.Status != 200 && answer.Status != 400 {
		t.Errorf("a v3 document: %d %s", answer.Status, answer.Body)
	}
	harness.Throughout(t, time.Second, "refused targets change nothing", f.Matches)
	f.changed(t, before)
	var again struct{ State json.RawMessage }
	if f.Get("/v2/local/target-state").JSON(t, &again); string(again.State) != string(got.State) {
		t.Errorf("the stored target changed:\n%s\n%s", got.State, again.State)
	}
	f.Restart()
	f.WaitSettled(harness.Soon)
	f.changed(t, before)
}

// docs/spec/device-api.md 4: 18 to 20.
func TestOddRequestsOnOneConnection(t *testing.T) {
	f := newFleet(t)
	conn := f.Dial()
	reader := bufio.NewReader(conn)
	send := func(name, request string, want int) {
		t.Helper()
		if _, err := io.WriteString(conn, strings.ReplaceAll(request, "KEY", f.Key())); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if res.StatusCode == http.StatusContinue {
			io.WriteString(conn, `{"appId":99}`)
			if res, err = http.ReadResponse(reader, nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != want {
			t.Errorf("%s: %d %q %v, want %d", name, res.StatusCode, body, err, want)
		}
	}
	const head = " HTTP/1.1\r\nHost: abc.balena:48484\r\n"
	send("GET with a body", "GET /v2/version?apikey=KEY"+head+"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\": 12}", 200)
	send("the next request", "GET /v2/version?apikey=KEY"+head+"\r\n", 200)
	send("POST without a body", "POST /v1/update?apikey=KEY"+head+"Content-Length: 0\r\n\r\n", 204)
	send("chunked body", "POST /v1/restart?apikey=KEY"+head+"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"appI\r\n6\r\nd\":99}\r\n0\r\n\r\n", 503)
	send("expect 100-continue", "POST /v1/restart?apikey=KEY"+head+"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n", 503)
	send("a bad escape in a path", "GET /v2/applications/%zz/state?apikey=KEY"+head+"\r\n", 400)
	send("the last request", "GET /ping"+head+"\r\n", 200)
}

// docs/spec/device-api.md 4: 150.
func TestIdleAndSlowConnectionsDoNotStopPing(t *testing.T) {
	f := newFleet(t)
	for range 1000 {
		f.Dial()
	}
	for range 50 {
		fmt.Fprintf(f.Dial(), "POST /v1/restart HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		fmt.Fprintf(f.Dial(), "POST /v1/restart?apikey=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", f.Key())
	}
	for range 20 {
		fresh := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		res, err := fresh.Get(f.URL("/ping"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("/ping answered %d", res.StatusCode)
		}
	}
	if code, _, errs := f.Run("healthcheck"); code != 0 {
		t.Errorf("healthcheck: %d %s", code, errs)
	}
}

// No bytes on the wire end the process.
func TestGarbageDoesNotEndTheProcess(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	for _, text := range []string{"\x00\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n\r\n",
		"POST /v1/restart HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "POST /v1/restart HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /v1/restart HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "GET /ping HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		conn := f.Dial()
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	}
	if err := f.Alive(); err != nil {
		t.Error(err)
	}
	f.changed(t, before)
}
