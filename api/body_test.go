package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
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
	var w io.WriteCloser
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if coding == "deflate" {
		w, err = zlib.NewWriterLevel(&b, zlib.BestSpeed)
	}
	if err == nil {
		_, err = io.WriteString(w, s)
	}
	if err != nil {
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
		if raceDetector && coding != "gzip" {
			continue
		}
		wantFailure(t, r.send("POST", "/v1/restart", packed(t, strings.ToLower(coding), bomb), asJSON, header, key),
			413, "request entity too large")
	}
}

func TestBodySizes(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) { s.LocalMode = true })
	const post, taken = "/v2/local/target-state", `{"status":"success","message":"OK"}`
	body := func(size int) string {
		const frame = `{"x":[""]}`
		return `{"x":["` + strings.Repeat("x", size-len(frame)) + `"]}`
	}
	for _, size := range []int{10, freeBytes, freeBytes + 1, 100_000, limitsOf[targetBody].bytes} {
		want := body(size)
		wantReply(t, r.send("POST", post, want, asJSON), 200, taken)
		if string(r.target) != want {
			t.Errorf("of a body of %d bytes %d arrived", size, len(r.target))
		}
		chunked := "POST /v2/local/target-state HTTP/1.1\r\nHost: x\r\n" + asJSON +
			"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(want)
		if got := r.raw("POST", chunked); got.status != 200 || string(r.target) != want {
			t.Errorf("chunked, %d bytes: %v", size, got)
		}
	}
	r.target = nil
	wantFailure(t, r.send("POST", post, body(limitsOf[targetBody].bytes+1), asJSON), 413, errTargetTooLarge.message)
	wantFailure(t, r.send("POST", post, `{"x":[0`+strings.Repeat(",0", limitsOf[targetBody].values)+`]}`, asJSON), 413, errTargetTooLarge.message)
	long := `{"a": 1,"x":"` + strings.Repeat("x", maxBody-30) + `" , "b":[ 2 ]}`
	tooLong := long + strings.Repeat(" ", maxBody+1-len(long))
	wantFailure(t, r.send("POST", post, tooLong, asJSON), 413, "request entity too large")
	chunked := "POST /v2/local/target-state HTTP/1.1\r\nHost: x\r\n" + asJSON +
		"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(tooLong)
	wantFailure(t, r.raw("POST", chunked), 413, "request entity too large")
	if r.target != nil {
		t.Error("a body that is too large was used")
	}
	wantReply(t, r.send("POST", post, tooLong[:maxBody], asJSON), 200, taken)
	if string(r.target) != `{"a":1,"b":[2]}` {
		t.Errorf("kept: %s", r.target)
	}
}

// A body with too large a Content-Length is answered before it comes, and the client gets the answer although it
// still sends.
func TestBodiesThatAreTooLongAreAnsweredAtOnce(t *testing.T) {
	r := start(t)
	for key, want := range map[string]int{"wrong": 401, globalTestKey: 413} {
		c := r.dial()
		fmt.Fprintf(c, "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n{",
			key, asJSON, 20<<20)
		in := bufio.NewReader(c)
		got := r.read("POST", in)
		if got.status != want || !strings.Contains(got.header, "Connection: close\r\n") {
			t.Errorf("key %s: %v %s", key, got, got.header)
		}
		if _, err := io.CopyN(c, zeros{}, 1<<20); err != nil {
			t.Errorf("key %s: %v", key, err)
		}
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("key %s: got %q after the answer, %v", key, rest, err)
		}
	}
}

// What is kept of a body, and what is refused (docs/spec/device-api.md 1.5).
func TestBodyLimits(t *testing.T) {
	f := func(limits *bodyLimits, body, want string, refused error) {
		t.Helper()
		_, raw, err := decodeBody(strings.NewReader(body), encoding{kind: kindJSON, charset: "utf-8"}, limits, newBudget().newReservation(nil))
		if err != refused || err == nil && string(raw) != want {
			t.Errorf("%.60q: %.60q, %v", body, raw, err)
		}
	}
	long := `"` + strings.Repeat("x", maxFieldBytes/2-len(`"":""`)+1) + `"`
	fits := long[:len(long)-2] + `"`
	f(&limitsOf[parsed], " { \"a\" : [ 1 , { \"b\" : \"c d\" } ] ,\n\"e\":\ttrue } ", `{"a":[1,{"b":"c d"}],"e":true}`, nil)
	f(&limitsOf[parsed], `{"":`+fits+`,"b":1}`, `{"":`+fits+`,"b":1}`, nil)
	f(&limitsOf[parsed], `{"":`+long+`,"b":1}`, `{"b":1}`, nil)
	f(&limitsOf[parsed], `{"a":1,"":`+long+`,"b":1}`, `{"a":1,"b":1}`, nil)
	f(&limitsOf[parsed], `{"a":1,"":[`+long+`]}`, `{"a":1}`, nil)
	f(&limitsOf[parsed], `{`+long+`:10,"b":2}`, `{"b":2}`, nil)
	f(&limitsOf[parsed], `{"":`+long+`}`, `{}`, nil)
	f(&limitsOf[parsed], `{"":`+fits+`,"":`+fits+`}`, "", errTooLarge)
	f(&limitsOf[hostBody], `{"":`+long+`}`, "", errTooLarge)
	f(&limitsOf[tagsBody], `{"":`+long+`}`, "", limitsOf[tagsBody].tooLong)
	f(&limitsOf[parsed], `[1, 2]`, `[1,2]`, nil)
	f(&limitsOf[parsed], ` [ ] `, `[]`, nil)
	f(&limitsOf[parsed], `[`+long+`,1]`, `["..."]`, nil)
	many := func(n int) string { return `{"a":1` + strings.Repeat(`,"a":1`, n-1) + `}` }
	f(&limitsOf[parsed], many(1000), many(1000), nil)
	f(&limitsOf[parsed], many(1001), "", errTooManyFields)
	f(&limitsOf[parsed], `{"a":[`+many(1001)+`]}`, "", errTooManyFields)
	f(&limitsOf[parsed], `[`+many(1001)+`]`, "", errTooManyFields)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	f(&limitsOf[targetBody], `{"a":`+deep(maxLevels)+`}`, `{"a":`+deep(maxLevels)+`}`, nil)
	for _, bad := range []string{deep(maxLevels + 2), `{"a":` + deep(maxLevels+1) + `}`, "[", `{"a":1`, `{"a"`, `[1,]`, `{"a":1,}`, `{,}`, `[01]`,
		`[1.]`, `[-]`, `[1e]`, `[+1]`, `[tru]`, `["\x"]`, `["\u12g4"]`, "[\"\n\"]", `[1]]`, `[1 2]`, `{"a" 1}`, `{a:1}`, "[1]\x00"} {
		_, _, err := decodeBody(strings.NewReader(bad), encoding{kind: kindJSON, charset: "utf-8"}, &limitsOf[targetBody], newBudget().newReservation(nil))
		if known := (*bodyError)(nil); !errors.As(err, &known) || known.code != 400 {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

// until waits for a condition.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not become true")
		}
	}
}

// The half-sent bodies of slow clients stay within the budget. Short bodies need no budget. The bodies of clients that
// have stopped sending are dropped for others, and all memory is free again when the clients have gone.
func TestSlowBodiesShareTheBudget(t *testing.T) {
	r := start(t)
	budget := r.server.handlers.bodies
	used := func() int {
		budget.mu.Lock()
		defer budget.mu.Unlock()
		return budget.used
	}
	budget.stallTimeout = time.Hour
	head := "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + globalTestKey + "\r\n" + asJSON + "\r\n"
	part := `{"appId":12,"x":["` + strings.Repeat("x", 100_000) // kept, because it may still fit
	var packed strings.Builder
	w, _ := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	_, _ = io.WriteString(w, part+part)
	_ = w.Close()
	var slow []net.Conn
	fill := func() {
		for kind := 0; used()+128<<10+inflateCost <= bodyBudget; kind++ {
			c := r.dial()
			slow = append(slow, c)
			before := used()
			_, _ = io.WriteString(c, head+[]string{
				"Content-Length: 200000\r\n\r\n" + part,
				"Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunks(part), "0\r\n\r\n"),
				"Content-Encoding: gzip\r\nContent-Length: 150000\r\n\r\n" + packed.String()[:len(part)],
			}[kind%3])
			until(t, func() bool { return used() >= before+128<<10-freeBytes })
		}
	}
	middling := part + `"]}`
	fill()
	wantFailure(t, r.do(globalTestKey, "POST", "/v1/restart", middling+strings.Repeat(" ", 200_000)), 503, textBusy)
	wantReply(t, r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`), 200, "OK")

	budget.mu.Lock()
	budget.stallTimeout = 0
	budget.mu.Unlock()
	wantReply(t, r.do(globalTestKey, "POST", "/v1/restart", middling), 200, "OK")
	for _, c := range slow {
		wantFailure(t, r.read("POST", bufio.NewReader(c)), 408, "request timeout")
	}

	budget.mu.Lock()
	budget.stallTimeout = time.Hour
	budget.mu.Unlock()
	slow = nil
	fill()
	for _, c := range slow {
		c.Close()
	}
	until(t, func() bool { return used() == 0 })
	wantReply(t, r.do(globalTestKey, "POST", "/v1/restart", middling), 200, "OK")
}

// A client has stopped sending when it sends less than progressBytes within stallTimeout.
func TestStalledClients(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	budget := newBudget()
	slow := budget.newReservation(here)
	waitLong := func() { slow.lastProgress = slow.lastProgress.Add(-2 * stallTimeout) }
	if err := slow.reserve(bodyBudget); err != nil {
		t.Fatal(err)
	}
	other := budget.newReservation(nil)
	waitLong()
	slow.addProgress(progressBytes)
	if err := other.reserve(1); err != errBusy {
		t.Fatalf("the body of a client that sends was dropped: %v", err)
	}
	waitLong()
	slow.addProgress(progressBytes - 1)
	if err := other.reserve(1); err != nil {
		t.Fatalf("the body of a stalled client was not dropped: %v", err)
	}
	if err := slow.reserve(1); err != errTimeout {
		t.Errorf("a dropped body goes on: %v", err)
	}
	if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server still waits for a dropped body: %v", err)
	}
	slow.release()
	other.release()
	other.release()
	if budget.used != 0 || len(budget.reservations) != 0 {
		t.Errorf("%d bytes of %d bodies are reserved", budget.used, len(budget.reservations))
	}
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
		if _, _, err := scanned(string(encode(form)), &limitsOf[targetBody]); err != nil && err != errTargetTooLarge {
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

// scanned returns what is kept of a JSON text.
func scanned(text string, limits *bodyLimits) (f fields, raw []byte, err error) {
	return decodeBody(strings.NewReader(text), encoding{kind: kindJSON, charset: "utf-8"}, limits, newBudget().newReservation(nil))
}

// An object or list is accepted exactly when it is valid JSON, and the copy that is kept has the same meaning.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e+3,"\u00e9\n"],"a":{"b":null,"":false}}`, " [ true ] ", "{}", "[]x", `{"a":"` + "\xff" + `"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole := bodyLimits{bytes: maxBody, field: maxBody, scalar: maxBody, members: maxBody, values: maxBody}
		_, raw, err := scanned(text, &whole)
		plain := strings.TrimPrefix(text, byteOrderMark)
		first := strings.TrimLeft(plain, " \t\r\n")
		known := first != "" && (first[0] == '{' || first[0] == '[')
		switch {
		case plain == "":
			if err != nil || len(raw) > 0 {
				t.Fatalf("nothing is %q, %v", raw, err)
			}
		case err != nil:
			if known && json.Valid([]byte(plain)) && !strings.Contains(err.Error(), "levels") {
				t.Fatalf("%q: %v", text, err)
			}
		case !known || !json.Valid([]byte(plain)):
			t.Fatalf("%q passes", text)
		case first[0] == '{':
			var want bytes.Buffer
			if err := json.Compact(&want, []byte(plain)); err != nil || want.String() != string(raw) {
				t.Fatalf("%q is kept as %q, want %q", text, raw, want.String())
			}
		}
		for _, limits := range []*bodyLimits{
			{bytes: 40, field: 12, scalar: 8, members: 3, values: 9}, &limitsOf[parsed], &limitsOf[tagsBody], &limitsOf[targetBody],
		} {
			_, raw, err := scanned(text, limits)
			if err == nil && len(raw) > 0 && (len(raw) > max(limits.bytes, maxListBytes) || !json.Valid(raw)) {
				t.Fatalf("%q leaves %q", text, raw)
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"appId":"12","force":1}`), "application/json; charset=utf-8", "")
	f.Add([]byte("a=1"), "application/x-www-form-urlencoded", "identity")
	f.Add([]byte("\x1f\x8b"), "application/json", "gzip")
	f.Fuzz(func(t *testing.T, raw []byte, kind, coding string) {
		r := newBudget().newReservation(nil)
		got, whole, err := decodeBody(bytes.NewReader(raw), encodingOf(kind, coding), &limitsOf[parsed], r)
		r.release()
		if r.budget.used != 0 {
			t.Fatalf("%q keeps %d bytes of the budget", raw, r.budget.used)
		}
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
