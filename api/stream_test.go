package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

// listen asks for an endless answer, and returns the connection, the body and the head.
func (r *rig) listen(t *testing.T, method, path string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	c := r.dial()
	_, _ = io.WriteString(c, method+" "+path+"?apikey="+globalTestKey+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	from := bufio.NewReader(c)
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(answer.Body), answer
}

func wantClosed(t *testing.T, s *source) {
	t.Helper()
	select {
	case <-s.closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the source was not closed")
	}
}

// running is how many endless answers run.
func (r *rig) running() int {
	return len(r.server.handlers.logStreams) + len(r.server.handlers.journalStreams)
}

func (r *rig) wantRunning(t *testing.T, want int) {
	t.Helper()
	for range 2000 {
		if r.running() == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d endless answers run, want %d", r.running(), want)
}

// The head of an endless answer comes before its first line. Lines come as they are sent. The answer ends with its
// source.
func TestStreamGoesOnUntilItsSourceEnds(t *testing.T) {
	for path, kind := range map[string]string{"GET /v2/local/logs": "application/x-ndjson", "POST /v2/journal-logs": typeText} {
		r := start(t)
		r.source = newSource()
		method, path, _ := strings.Cut(path, " ")
		_, lines, answer := r.listen(t, method, path)
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != kind || answer.ContentLength != -1 || !answer.Close {
			t.Errorf("%s: %d %v", path, answer.StatusCode, answer.Header)
		}
		for _, line := range []string{"one\n", strings.Repeat("x", 10_000) + "\n"} {
			go func() { r.source.lines <- []byte(line) }()
			if got, err := lines.ReadString('\n'); err != nil || path == "/v2/local/logs" && got != line {
				t.Errorf("%s: got %.20q %v", path, got, err)
			}
			if path != "/v2/local/logs" {
				break // the journal is not read line by line
			}
		}
		close(r.source.lines)
		if _, err := io.ReadAll(lines); err != nil {
			t.Errorf("%s ends with %v", path, err)
		}
		wantClosed(t, r.source)
		r.wantRunning(t, 0)
	}
}

// A stream ends when its client closes the connection, even while no line comes.
func TestStreamEndsWithItsClient(t *testing.T) {
	for _, path := range []string{"GET /v2/local/logs", "POST /v2/journal-logs"} {
		r := start(t)
		r.source = newSource()
		method, path, _ := strings.Cut(path, " ")
		c, _, _ := r.listen(t, method, path)
		r.wantRunning(t, 1)
		_, _ = io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n") // is dropped
		select {
		case <-r.source.closed:
			t.Fatal("the source was closed while the client is there")
		case <-time.After(50 * time.Millisecond):
		}
		_ = c.Close()
		wantClosed(t, r.source)
		r.wantRunning(t, 0)
	}
}

// The server does not wait for the clients of streams when it stops.
func TestStreamEndsWithTheServer(t *testing.T) {
	r := start(t)
	r.source = newSource()
	_, lines, _ := r.listen(t, "GET", "/v2/local/logs")
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, r.source)
	if took := time.Since(began); took > r.server.limits.grace {
		t.Errorf("the end took %v", took)
	}
	_, _ = io.ReadAll(lines)
}

// The write timeout of other answers does not end an endless answer.
func TestStreamOutlivesTheWriteTimeout(t *testing.T) {
	l := defaultLimits()
	l.write, l.head, l.idle = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	r := startWith(t, l, zerolog.Nop())
	r.source = newSource()
	_, lines, _ := r.listen(t, "GET", "/v2/local/logs")
	for range 3 {
		time.Sleep(2 * l.write)
		select {
		case r.source.lines <- []byte("x\n"):
		case <-r.source.closed:
			t.Fatal("the stream was ended")
		}
		if got, err := lines.ReadString('\n'); err != nil || got != "x\n" {
			t.Fatalf("got %q %v", got, err)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	r := start(t)
	for range maxLogStreams {
		r.server.handlers.logStreams <- struct{}{}
	}
	wantFailure(t, r.do(globalTestKey, "GET", "/v2/local/logs", ""), 503, textBusy)
	r.source = newSource()
	for range maxJournalStreams {
		r.listen(t, "POST", "/v2/journal-logs")
	}
	wantFailure(t, r.do(globalTestKey, "POST", "/v2/journal-logs", ""), 503, textBusy)
	close(r.source.lines)
	r.wantRunning(t, maxLogStreams)
	r.err = errors.New("no journal")
	for range maxJournalStreams + 1 {
		wantFailure(t, r.do(globalTestKey, "POST", "/v2/journal-logs", ""), 503, "no journal")
	}
}

func TestJournalQuery(t *testing.T) {
	for body, want := range map[string]string{
		``: "{All:false Follow:false Count:0 Unit: Identifier: Format:short Since: Until:}",
		`{"all":1,"follow":"on","count":"7","unit":"a b","containerId":"c","format":"json","since":"-1h","until":"now"}`: "{All:true Follow:true Count:7 Unit:a b Identifier:c Format:json Since:-1h Until:now}",
		`{"count":-1,"unit":null,"since":1700000000,"format":""}`:                                                        "{All:false Follow:false Count:0 Unit: Identifier: Format:short Since:1700000000 Until:}",
		`{"count":"x","unit":"--vacuum-size=1"}`:                                                                         "{All:false Follow:false Count:0 Unit:--vacuum-size=1 Identifier: Format:short Since: Until:}",
	} {
		r := start(t)
		if got := r.do(keyOfA, "POST", "/v2/journal-logs", body); got.status != 200 || got.body != "" || r.take() != "journal "+want {
			t.Errorf("%s: %v", body, got)
		}
	}
	r := start(t)
	for _, body := range []string{`{"unit":true}`, `{"format":[]}`, `{"since":{}}`, `{"containerId":"a\u0000b"}`} {
		if got := r.do(globalTestKey, "POST", "/v2/journal-logs", body); got.status != 400 || got.kind != typeJSON || r.take() != "" {
			t.Errorf("%s: %v", body, got)
		}
	}
	r.err = errors.New("read the journal: no such file")
	wantFailure(t, r.do(globalTestKey, "POST", "/v2/journal-logs", ""), 503, "read the journal: no such file")
}

func TestTags(t *testing.T) {
	r := start(t)
	wantFailure(t, r.do(keyOfA, "GET", "/v2/device/tags", ""), 500, textNotRegistered)
	r.facts.Registered = true
	wantReply(t, r.do(keyOfA, "GET", "/v2/device/tags", ""), 200, `{"status":"success","tags":[{"id":11,"name":"site","value":"north"}]}`)
	for _, c := range []struct {
		body   string
		status int
		text   string
		asked  string
	}{
		{`{"a":"1","b":""}`, 202, "", "tags map[a:1 b:]"},
		{`{}`, 202, "", ""},
		{``, 202, "", ""},
		{`{"a":1}`, 400, textTagsBody, ""},
		{`{"a":null}`, 400, textTagsBody, ""},
		{`["x"]`, 400, textTagsBody, ""},
		{`[ ]`, 202, "", ""},
		{`{"a":"` + strings.Repeat("x", maxFieldBytes) + `"}`, 400, view.ErrTooManyTags.Error(), ""},
		{`{"a b":"1"}`, 400, textTagKey, ""},
		{"{\"a\u2003b\":\"1\"}", 400, textTagKey, ""},
		{`{"a b":"1","a":1}`, 400, textTagsBody, ""},
		{`{"io.balena.x":"1"}`, 400, textTagReserved, ""},
	} {
		got := r.do(keyOfA, "PATCH", "/v2/device/tags", c.body)
		if c.status == 202 {
			wantReply(t, got, 202, `{"status":"success"}`)
		} else {
			wantFailure(t, got, c.status, c.text)
		}
		if asked := r.take(); asked != c.asked {
			t.Errorf("%s: asked for %q", c.body, asked)
		}
	}
	r.err = errors.New("disk full")
	wantFailure(t, r.do(keyOfA, "PATCH", "/v2/device/tags", `{"a":"1"}`), 500, "disk full")
	r.err = view.ErrTooManyTags
	wantFailure(t, r.do(keyOfA, "PATCH", "/v2/device/tags", `{"a":"1"}`), 400, view.ErrTooManyTags.Error())
	r.err = errors.New("disk full")
	wantFailure(t, r.do(keyOfA, "GET", "/v2/device/tags", ""), 500, "disk full")
	r.facts.Managed = false
	r.facts.Registered = false
	wantFailure(t, r.do(keyOfA, "GET", "/v2/device/tags", ""), 500, textNoCloud)
	wantFailure(t, r.do(keyOfA, "PATCH", "/v2/device/tags", "{}"), 500, textNoCloud)
}

// When the cloud does not answer, requests for tags use no more connections than actions may.
func TestTagsThatWaitAreBounded(t *testing.T) {
	l := defaultLimits()
	l.actions, l.connections = 4, 8
	r := startWith(t, l, zerolog.Nop())
	r.facts.Registered = true
	silent := silentCloud{r.memory, make(chan struct{}, l.connections), make(chan struct{})}
	r.server.handlers.dev = silent
	answers := make(chan reply, l.actions)
	for range l.actions {
		go func() { answers <- r.do(globalTestKey, "GET", "/v2/device/tags", "") }()
		<-silent.asked
	}
	for range l.connections {
		c := r.dial()
		fmt.Fprintf(c, "GET /v2/device/tags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", globalTestKey)
		wantFailure(t, r.read("GET", bufio.NewReader(c)), 500, textBusy)
	}
	wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	close(silent.end)
	for range l.actions {
		if got := <-answers; got.status != 200 {
			t.Errorf("at the end: %v", got)
		}
	}
}

// silentCloud blocks every request for tags until end is closed.
type silentCloud struct {
	*memory
	asked, end chan struct{}
}

func (s silentCloud) Tags(ctx context.Context) ([]Tag, error) {
	s.asked <- struct{}{}
	<-s.end
	return s.memory.Tags(ctx)
}

func TestVPNAndVolumes(t *testing.T) {
	r := start(t)
	wantReply(t, r.do(keyOfA, "GET", "/v2/device/vpn", ""), 200, `{"status":"success","vpn":{"enabled":true,"connected":false}}`)
	wantReply(t, r.do(keyOfA, "GET", "/v2/cleanup-volumes", ""), 200, `{"status":"success"}`)
	wantReply(t, r.do(globalTestKey, "GET", "/v2/cleanup-volumes", ""), 200, `{"status":"success"}`)
	if asked := r.take(); asked != "clean up true false; clean up true true" {
		t.Errorf("asked for %s", asked)
	}
	r.err = errors.New("the engine is gone")
	wantFailure(t, r.do(keyOfA, "GET", "/v2/cleanup-volumes", ""), 503, "the engine is gone")
}
