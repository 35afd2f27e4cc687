package surface_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// line is one raw connection to the API.
type line struct {
	*net.TCPConn
	from *bufio.Reader
	t    *testing.T
}

func dial(t *testing.T, s *harness.Supervisor) *line {
	t.Helper()
	conn := s.Dial()
	return &line{conn.(*net.TCPConn), bufio.NewReader(conn), t}
}

func (l *line) say(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l, text); err != nil {
		l.t.Fatal(err)
	}
}

// hear reads one answer to a method.
func (l *line) hear(method string) (int, http.Header, string) {
	l.t.Helper()
	res, err := http.ReadResponse(l.from, &http.Request{Method: method})
	if err != nil {
		l.t.Fatalf("answer to %s: %v", method, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatalf("answer to %s: %v", method, err)
	}
	return res.StatusCode, res.Header, string(body)
}

// refused fails the test unless the next answer is a JSON error.
func (l *line) refused(what string, status int, message string) {
	l.t.Helper()
	got, header, body := l.hear("POST")
	var e struct{ Status, Message string }
	if got != status || json.Unmarshal([]byte(body), &e) != nil || e.Status != "failed" || e.Message != message || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		l.t.Errorf("%s: %d %.200q, want %d %q", what, got, body, status, message)
	}
}

const host = " HTTP/1.1\r\nHost: 0123.balena:48484\r\n"

// Requests that come at once are answered one after the other, each with its own answer.
func TestPipelining(t *testing.T) {
	s := bare(t)
	key := "?apikey=" + s.Key()
	l := dial(t, s)
	var all strings.Builder
	for i := range 100 {
		fmt.Fprintf(&all, "GET /ping%[1]sHEAD /v2/version%[2]s%[1]sGET /v%[3]d%[2]s%[1]s", host+"\r\n", key, i)
		fmt.Fprintf(&all, "POST /v1/restart%s%sContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"appId\":%d}", key, host, 100+i)
	}
	l.say(all.String())
	for i := range 100 {
		if status, _, body := l.hear("GET"); status != 200 || body != "OK" {
			t.Fatalf("/ping %d: %d %q", i, status, body)
		}
		if status, header, body := l.hear("HEAD"); status != 200 || body != "" || header.Get("Content-Length") == "0" {
			t.Fatalf("HEAD %d: %d %v %q", i, status, header, body)
		}
		l.refused("unknown path", 404, fmt.Sprintf("Cannot GET /v%d", i))
		l.refused("restart", 503, fmt.Sprintf("Application with ID %d is not in the current state", 100+i))
	}
}

// docs/spec/device-api.md 4: 3. HEAD is served by every GET route, endless answers too, and nothing of a
// body comes.
func TestHeadOfEveryEndpoint(t *testing.T) {
	s := bare(t)
	seen := map[string]bool{}
	for _, e := range document(t) {
		path, isGet := strings.CutPrefix(e.endpoint, "GET ")
		if !isGet || seen[path] {
			continue
		}
		seen[path] = true
		path = strings.ReplaceAll(path, ":appId", "31") + "?apikey=" + s.Key()
		l := dial(t, s)
		l.say("HEAD " + path + host + "Connection: close\r\n\r\n")
		head, err := io.ReadAll(l.from)
		if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) || bytes.Index(head, []byte("\r\n\r\n")) != len(head)-4 {
			t.Errorf("HEAD %s: %q %v", e.endpoint, head, err)
		}
	}
	if len(seen) < 15 {
		t.Errorf("%d endpoints", len(seen))
	}
}

// docs/spec/device-api.md 1.5, 4: 16, 18, 20.
func TestBodiesOnTheWire(t *testing.T) {
	s := bare(t)
	key := "?apikey=" + s.Key()
	const asJSON = "Content-Type: application/json\r\n"
	restart := "POST /v1/restart" + key + host + asJSON
	const tooLarge = "request entity too large"
	large := strconv.Itoa(10<<20 + 1)

	l := dial(t, s)
	l.say(restart + "Content-Length: " + large + "\r\nExpect: 100-continue\r\n\r\n")
	l.hear("POST") // 100: who announces a body sends it, and gets its answer after that
	l.say(strings.Repeat(" ", 10<<20+1))
	l.refused("a large body that is announced", 413, tooLarge)

	l = dial(t, s)
	l.say(restart + "Transfer-Encoding: chunked\r\n\r\n")
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<20, strings.Repeat(" ", 1<<20))
	for range 11 {
		io.WriteString(l, chunk)
	}
	io.WriteString(l, "0\r\n\r\n")
	l.refused("a large body in chunks", 413, tooLarge)

	l = dial(t, s)
	var bomb bytes.Buffer
	w, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	for range 100 {
		w.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	w.Close()
	l.say(restart + "Content-Encoding: gzip\r\nContent-Length: " + strconv.Itoa(bomb.Len()) + "\r\n\r\n" + bomb.String())
	l.refused("a large body that was packed", 413, tooLarge)

	l = dial(t, s)
	l.say(restart + "Expect: 100-continue\r\nContent-Length: 12\r\n\r\n")
	if status, _, _ := l.hear("POST"); status != 100 {
		t.Errorf("expect 100-continue: %d", status)
	}
	l.say(`{"appId":99}`)
	l.refused("after 100", 503, "Application with ID 99 is not in the current state")
	l.say(restart + "Transfer-Encoding: chunked\r\n\r\n6\r\n{\"appI\r\n6;x=y\r\nd\":99}\r\n0\r\nX-Trailer: x\r\n\r\n")
	l.refused("chunks", 503, "Application with ID 99 is not in the current state")
	for _, method := range []string{"GET", "HEAD", "DELETE"} {
		l.say(method + " /v2/version" + key + host + asJSON + "Content-Length: 9\r\n\r\n{\"a\": 12}")
		if status, _, _ := l.hear(method); status != 200 && method != "DELETE" || status != 404 && method == "DELETE" {
			t.Errorf("%s with a body: %d", method, status)
		}
	}
	l.say("GET /ping" + host + "\r\n")
	if status, _, body := l.hear("GET"); status != 200 || body != "OK" {
		t.Errorf("the request after them: %d %q", status, body)
	}
}

// A request that two readers could take for different ones is refused, and what follows is not taken
// for a request.
func TestAmbiguousLengths(t *testing.T) {
	s := bare(t)
	for name, head := range map[string]string{
		"length and chunks": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
		"two lengths":       "Content-Length: 0\r\nContent-Length: 44\r\n",
		"length of words":   "Content-Length: 4, 4\r\n",
		"negative length":   "Content-Length: -4\r\n",
		"odd encoding":      "Transfer-Encoding: xchunked\r\n",
	} {
		l := dial(t, s)
		l.say("POST /v1/blink?apikey=" + s.Key() + host + head + "\r\n0\r\n\r\nGET /smuggled?apikey=" + s.Key() + host + "\r\n")
		l.CloseWrite()
		answers, err := io.ReadAll(l.from)
		if err != nil && len(answers) == 0 && !errors.Is(err, net.ErrClosed) {
			t.Logf("%s: %v", name, err)
		}
		first, rest, _ := strings.Cut(string(answers), "\r\n")
		if strings.Contains(rest, "/smuggled") && !strings.HasPrefix(first, "HTTP/1.1 2") {
			t.Errorf("%s: answered %q, and the rest was taken for a request: %q", name, first, rest)
		}
		t.Logf("%s: %s, %d answers", name, first, strings.Count(string(answers), "HTTP/1.1 "))
	}
}

// Heads and addresses have a limit, with an answer that says so.
func TestHeadLimits(t *testing.T) {
	s := bare(t)
	for name, head := range map[string]string{
		"one long header": "X: " + strings.Repeat("a", 17_000) + "\r\n",
		"many headers":    strings.Repeat("X: a\r\n", 3000),
	} {
		l := dial(t, s)
		l.say("GET /ping" + host + head + "\r\n")
		l.refused(name, 431, "request header too large")
	}
	l := dial(t, s)
	l.say("GET /" + strings.Repeat("a", 17_000) + host + "\r\n")
	l.refused("a long address", 431, "request header too large")
	l = dial(t, s)
	for _, cookies := range []int{0, 1, 3, 1} { // a browser sends those of all ports of a host
		l.say("GET /v2/version?apikey=" + s.Key() + "&x=" + strings.Repeat("a", 3000) + host + strings.Repeat("Cookie: "+strings.Repeat("a", 4000)+"\r\n", cookies) + "\r\n")
		if status, _, body := l.hear("GET"); status != 200 {
			t.Errorf("a head with %d long cookies: %d %s", cookies, status, body)
		}
	}
}

// docs/spec/device-api.md 1.4. A client of HTTP/1.0 gets an endless answer without chunks, up to the end of the
// connection, and keeps a connection only when it asks for that.
func TestHTTP10(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	write := s.Journal()
	s.Start()
	s.WaitListed()
	write("probe", "of the journal")
	key := "?apikey=" + s.Key() + " HTTP/1.0\r\n"
	for _, keep := range []string{"", "Connection: keep-alive\r\n"} {
		l := dial(t, s)
		l.say("GET /v2/local/logs" + key + keep + "\r\n")
		head, first := l.begin()
		if strings.Contains(head, "Transfer-Encoding") || !strings.Contains(head, "Connection: close\r\n") || first != `{"message":"Streaming logs","isSystem":true}`+"\n" {
			t.Errorf("the log begins with %q %q", head, first)
		}
		l = dial(t, s)
		const body = `{"count":1,"containerId":"probe","format":"cat"}`
		l.say("POST /v2/journal-logs" + key + keep + "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
		head, first = l.begin()
		rest, err := io.ReadAll(l.from)
		if strings.Contains(head, "Transfer-Encoding") || first != "of the journal\n" || len(rest) > 0 || err != nil {
			t.Errorf("the journal is %q %q %q %v", head, first, rest, err)
		}
		l = dial(t, s)
		for range 2 {
			l.say("GET /v2/version" + key + keep + "\r\n")
			status, header, _ := l.hear("GET")
			if status != 200 || (header.Get("Keep-Alive") != "") != (keep != "") {
				t.Errorf("with %q: %d %v", keep, status, header)
			}
			if keep == "" {
				break
			}
		}
		if keep == "" {
			if rest, err := io.ReadAll(l.from); len(rest) > 0 || err != nil {
				t.Errorf("the connection ends with %q %v", rest, err)
			}
		}
	}
}

// begin reads the head of an answer and the first line of its body.
func (l *line) begin() (head, first string) {
	l.t.Helper()
	for !strings.HasSuffix(head, "\r\n\r\n") {
		text, err := l.from.ReadString('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		head += text
	}
	first, err := l.from.ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	return head, first
}

// docs/spec/device-api.md 1.4. A client that waits no longer than it was told meets no end of its connection.
func TestConnectionLivesAsLongAsPromised(t *testing.T) {
	s := bare(t)
	for try := 0; ; try++ {
		l := dial(t, s)
		l.SetDeadline(time.Now().Add(5 * time.Minute))
		ask := func() time.Duration {
			t.Helper()
			l.say("GET /ping" + host + "\r\n")
			status, header, _ := l.hear("GET")
			seconds, err := strconv.Atoi(strings.TrimPrefix(header.Get("Keep-Alive"), "timeout="))
			if status != 200 || err != nil || seconds < 40 {
				t.Fatalf("%d %v: a client that calls every 30 s needs more", status, header)
			}
			return time.Duration(seconds) * time.Second
		}
		promised := ask()
		began := time.Now()
		time.Sleep(promised)
		if try < 3 && time.Since(began) > promised+5*time.Second {
			continue // on this machine the client came too late
		}
		ask()
		return
	}
}

// docs/spec/device-api.md 4: 150. Clients that close half of the connection get their answer; those that
// break off leave nothing behind.
func TestHalfClosedAndAborted(t *testing.T) {
	s := bare(t)
	goroutines := func() float64 { return value(scrape(t, s), "goroutines") }
	level := goroutines()
	l := dial(t, s)
	l.say("GET /v2/version?apikey=" + s.Key() + host + "\r\n")
	l.CloseWrite()
	if status, _, _ := l.hear("GET"); status != 200 {
		t.Errorf("half-closed: %d", status)
	}
	auth := "?apikey=" + s.Key() + host
	for _, text := range []string{
		"", "G", "GET /ping" + host, "GET /v2/local/logs" + auth + "\r\n", "GET /v1/device" + auth + "\r\n",
		"POST /v1/restart" + auth + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"appId\":",
		"POST /v1/restart" + auth + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a",
		"POST /v1/restart" + auth + "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 20000\r\n\r\n" + packed(9000),
	} {
		for range 50 {
			l := dial(t, s)
			l.say(text)
			l.SetLinger(0) // the client's end says so with a reset
			l.Close()
		}
	}
	harness.Until(t, harness.Soon, "the goroutines of clients that have gone to end", func() error {
		if now := goroutines(); now > level+2 {
			return fmt.Errorf("%v, %v before", now, level)
		}
		return nil
	})
	answers(t, s, "the silence after")
}
