package api

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/view"
)

const asForm = "Content-Type: application/x-www-form-urlencoded"

func TestBodies(t *testing.T) {
	r := start(t)
	f := func(name, body string, status int, asked, answer string, headers ...string) {
		t.Helper()
		got := r.send("POST", "/v1/restart", body, append(headers, "Authorization: Bearer "+globalTestKey)...)
		if got.status != status || r.take() != asked || answer != "" && got.body != answer {
			t.Errorf("%s: %v", name, got)
		}
	}
	missing := "Missing app id"
	f("json", `{"appId":12}`, 200, "restart 12 false", "OK", asJSON)
	f("json with parameters", ` {"appId":12,"force":true}`, 200, "restart 12 true", "OK", asJSON+`; Charset="UTF-8"; x=y`)
	f("json in upper case", `{"appId":12}`, 200, "restart 12 false", "OK", "Content-Type: APPLICATION/JSON")
	f("byte order mark", "\ufeff"+`{"appId":12}`, 200, "restart 12 false", "OK", asJSON)
	f("form", "appId=12&force=on", 200, "restart 12 true", "OK", asForm)
	f("text", `{"appId":12}`, 400, "", missing, "Content-Type: text/plain")
	f("other json", `{"appId":12}`, 400, "", missing, "Content-Type: application/x+json")
	f("no type", `{"appId":12}`, 400, "", missing)
	f("json as form", `{"appId":12}`, 400, "", missing, asForm)
	f("empty", "", 400, "", missing, asJSON)
	f("list", `[{"appId":12}]`, 400, "", missing, asJSON)
	f("malformed", `{bad`, 400, "", "", asJSON)
	f("half", `{"appId":12`, 400, "", "", asJSON)
	f("tail", `{"appId":12}}`, 400, "", "", asJSON)
	f("blank", `  `, 400, "", "", asJSON)
	for _, scalar := range []string{`7`, `"x"`, `null`, `true`} {
		f("scalar", scalar, 400, "", `{"status":"failed","message":"request body: neither a JSON object nor a list"}`, asJSON)
	}
	f("charset", `{"appId":12}`, 415, "",
		`{"status":"failed","message":"unsupported charset \"LATIN1\""}`, asJSON+"; charset=latin1")
	f("coding", `{"appId":12}`, 415, "",
		`{"status":"failed","message":"unsupported content encoding \"br\""}`, asJSON, "Content-Encoding: br")
	f("not gzip", `{"appId":12}`, 400, "", "", asJSON, "Content-Encoding: gzip")
	f("many fields", strings.Repeat("a=1&", 1000), 413, "",
		`{"status":"failed","message":"too many parameters"}`, asForm)
	f("fields enough", strings.Repeat("a=1&", 998)+"appId=12", 200, "restart 12 false", "OK", asForm)
}

func packed(t *testing.T, coding, s string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if coding == "deflate" {
		w = zlib.NewWriter(&b)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompressedBodies(t *testing.T) {
	r := start(t)
	bomb := `{"appId":12,"x":"` + strings.Repeat("x", maxBody) + `"}`
	for _, coding := range []string{"gzip", "deflate", "GZIP"} {
		header := "Content-Encoding: " + coding
		key := "Authorization: Bearer " + globalTestKey
		body := packed(t, strings.ToLower(coding), `{"appId":12}`)
		wantReply(t, r.send("POST", "/v1/restart", body, asJSON, header, key), 200, "OK")
		if got := r.send("POST", "/v1/restart", body[:len(body)-5], asJSON, header, key); got.status != 400 {
			t.Errorf("cut %s: %v", coding, got)
		}
		wantFailure(t, r.send("POST", "/v1/restart", packed(t, strings.ToLower(coding), bomb), asJSON, header, key),
			413, "request entity too large")
	}
}

func TestBodySizes(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.LocalMode = true })
	body := func(size int) string {
		const frame = `{"x":""}`
		return `{"x":"` + strings.Repeat("x", size-len(frame)) + `"}`
	}
	for _, size := range []int{8, smallBody - 1, smallBody, smallBody + 1, smallBody + 2, 9 << 20, maxBody} {
		want := body(size)
		wantReply(t, r.send("POST", "/v2/local/target-state", want, asJSON), 200, `{"status":"success","message":"OK"}`)
		if string(r.target) != want {
			t.Errorf("a body of %d bytes arrived as one of %d", size, len(r.target))
		}
		chunked := "POST /v2/local/target-state HTTP/1.1\r\nHost: x\r\n" + asJSON +
			"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(want)
		if got := r.raw("POST", chunked); got.status != 200 || string(r.target) != want {
			t.Errorf("chunked, %d bytes: %v", size, got)
		}
	}
	r.target = nil
	wantFailure(t, r.send("POST", "/v2/local/target-state", body(maxBody+1), asJSON), 413, "request entity too large")
	chunked := "POST /v2/local/target-state HTTP/1.1\r\nHost: x\r\n" + asJSON +
		"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body(maxBody+1))
	wantFailure(t, r.raw("POST", chunked), 413, "request entity too large")
	if r.target != nil {
		t.Error("a body that is too large was used")
	}
}

func TestLargeBodiesTakeTurns(t *testing.T) {
	r := start(t)
	head := "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + globalTestKey + "\r\n" + asJSON + "\r\n"
	for range largeBodies {
		c := r.dial()
		if _, err := io.WriteString(c, head+"Content-Length: 1000000\r\n\r\n"+strings.Repeat(" ", smallBody+1)); err != nil {
			t.Fatal(err)
		}
	}
	for len(r.server.handlers.large) < largeBodies {
		runtime.Gosched()
	}
	large := strings.Repeat(" ", smallBody) + `{"appId":12}`
	wantFailure(t, r.do(globalTestKey, "POST", "/v1/restart", large), 503, textBusy)
	wantReply(t, r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`), 200, "OK")
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come true")
		}
	}
}

// Bodies that slow clients keep half sent hold no more memory than there is room for; short ones need
// no room, and what was held is free again when the clients have gone.
func TestSlowBodiesShareTheirRoom(t *testing.T) {
	r := start(t)
	head := "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + globalTestKey + "\r\n" + asJSON + "\r\n"
	part := strings.Repeat(" ", 9000) // the server wants to see 8 KiB of a body before it calls us
	var packed strings.Builder
	w, _ := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	_, _ = io.WriteString(w, part+part)
	_ = w.Close()
	room := &r.server.handlers.room
	var slow []net.Conn
	for kind := 0; room.Load()+smallBody+inflater <= roomForBodies; kind++ {
		c := r.dial()
		slow = append(slow, c)
		before := room.Load()
		_, _ = io.WriteString(c, head+[]string{
			"Content-Length: 200000\r\n\r\n" + part,
			"Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunks(part), "0\r\n\r\n"),
			"Content-Encoding: gzip\r\nContent-Length: 50000\r\n\r\n" + packed.String()[:len(part)],
		}[kind%3])
		until(t, func() bool { return room.Load() != before })
	}
	middling := strings.Repeat(" ", smallBody-100) + `{"appId":12}`
	for room.Load()+smallBody <= roomForBodies {
		slow = append(slow, r.dial())
		before := room.Load()
		_, _ = io.WriteString(slow[len(slow)-1], head+"Content-Length: 100000\r\n\r\n"+part)
		until(t, func() bool { return room.Load() != before })
	}
	wantFailure(t, r.do(globalTestKey, "POST", "/v1/restart", middling), 503, textBusy)
	wantReply(t, r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`), 200, "OK")
	for _, c := range slow {
		c.Close()
	}
	until(t, func() bool { return room.Load() == 0 })
	wantReply(t, r.do(globalTestKey, "POST", "/v1/restart", middling), 200, "OK")
}

func chunks(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(len(s), 0xffff)
		b.WriteString(hex(n) + "\r\n" + s[:n] + "\r\n")
		s = s[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	var s string
	for ; n > 0; n /= 16 {
		s = string(digits[n%16]) + s
	}
	return s
}

func TestForms(t *testing.T) {
	f := func(form, want string) {
		t.Helper()
		got, err := decodeForm(form)
		if err != nil || string(encode(got)) != want {
			t.Errorf("%s: %s, %v; want %s", form, encode(got), err, want)
		}
	}
	f("", `{}`)
	f("a=1&b=x+y%21", `{"a":"1","b":"x y!"}`)
	f("a", `{"a":""}`)
	f("=1&&", `{}`)
	f("a=1&a=2&a=3", `{"a":["1","2","3"]}`)
	f("net[host]=x&net[port]=1", `{"net":{"host":"x","port":"1"}}`)
	f("l[]=1&l[]=2", `{"l":["1","2"]}`)
	f("l[0]=a&l[1]=b", `{"l":["a","b"]}`)
	f("apps[7][name]=x", `{"apps":{"7":{"name":"x"}}}`)
	f("a[b][c][]=1", `{"a":{"b":{"c":["1"]}}}`)
	f("a%5Bb%5D=1", `{"a":{"b":"1"}}`)
	f("a[b=1", `{"a[b":"1"}`)
	f("[b]=1", `{"[b]":"1"}`)
	f("a=%zz", `{"a":"%zz"}`)
	f("a=1&a[b]=2", `{"a":{"b":"2"}}`)
	f("a[b]=2&a=1", `{"a":"1"}`)
	f(`{"appId":12}`, `{"{\"appId\":12}":""}`)
}

func TestValues(t *testing.T) {
	f := func(raw string, id int, ok bool) {
		t.Helper()
		if got, isInt := intValue(json.RawMessage(raw)); got != id || isInt != ok {
			t.Errorf("%s is %d, %v", raw, got, isInt)
		}
	}
	f(`7`, 7, true)
	f(`7.0`, 7, true)
	f(`7e2`, 700, true)
	f(`"7"`, 7, true)
	f(`"7.0"`, 7, true)
	f(`"7."`, 7, true)
	f(`"007"`, 7, true)
	f(`"-7"`, -7, true)
	for _, bad := range []string{`"7a"`, `""`, `1.5`, `"1.5"`, `true`, `null`, ``, `[7]`, `{}`, `"-"`, `"--7"`,
		`"+7"`, `" 7"`, `"."`, `"7.0.0"`, `"99999999999999999999"`, `1e300`, `"0x7"`} {
		f(bad, 0, false)
	}
	for _, on := range []string{`true`, `1`, `1.0`, `"1"`, `"true"`, `"TRUE"`, `"on"`, `"On"`} {
		if !truthy(json.RawMessage(on)) {
			t.Errorf("%s is not on", on)
		}
	}
	for _, off := range []string{`false`, `0`, `2`, `"yes"`, `""`, `null`, ``, `{}`, `[1]`, `"0"`} {
		if truthy(json.RawMessage(off)) {
			t.Errorf("%s is on", off)
		}
	}
	for raw, want := range map[string]string{`"web"`: "web", `""`: "", `"null"`: "", `"undefined"`: "", `7`: "", `null`: "", ``: ""} {
		if got := nameText(json.RawMessage(raw)); got != want {
			t.Errorf("%s is the name %q", raw, got)
		}
	}
}

func FuzzForm(f *testing.F) {
	f.Add("a[b][]=1&a=2&c%5B=3")
	f.Add("a[" + strings.Repeat("b][", 100) + "c]=1")
	f.Fuzz(func(t *testing.T, s string) {
		form, err := decodeForm(s)
		if err != nil {
			return
		}
		if d := depth(form); d > maxFormDepth+2 {
			t.Errorf("%q is nested %d deep", s, d)
		}
		if _, err := decodeJSON(encode(form)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func depth(v any) int {
	d := 0
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			d = max(d, depth(inner))
		}
		return d + 1
	case []any:
		return 1
	}
	return 0
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"appId":"12","force":1}`), "application/json; charset=utf-8", "")
	f.Add([]byte("a=1"), "application/x-www-form-urlencoded", "identity")
	f.Add([]byte("\x1f\x8b"), "application/json", "gzip")
	f.Fuzz(func(t *testing.T, raw []byte, kind, coding string) {
		enc := encodingOf(kind, coding)
		h := newHandlers(nil, nil, nil, 1)
		plain, err := h.readRaw(bytes.NewReader(raw), enc, len(raw))
		if err != nil {
			return
		}
		got, whole, err := decodeBody(plain, enc)
		if err != nil || len(whole) == 0 {
			return
		}
		var want any
		if err := json.Unmarshal(whole, &want); err != nil {
			t.Fatalf("%q passes as JSON: %v", whole, err)
		}
		if object, ok := want.(map[string]any); ok && len(object) != len(got) {
			t.Errorf("%q has fields %v", whole, reflect.ValueOf(got).MapKeys())
		}
		for _, v := range got {
			_, _ = intValue(v)
			_, _ = truthy(v), nameText(v)
		}
	})
}
