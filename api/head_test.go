package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// padded is a request whose head has so many bytes.
func padded(size int, line, rest string) string {
	head := line + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + globalTestKey + "\r\n" + rest + "Cookie: "
	return head + strings.Repeat("c", size-len(head)-4) + "\r\n\r\n"
}

// One connection takes heads of any length up to the limit, in any order, whole or in pieces.
func TestLongHeads(t *testing.T) {
	r := start(t)
	c := r.dial()
	in := bufio.NewReader(c)
	for _, size := range []int{120, shortHead - 1, shortHead, shortHead + 1, 200, maxHead - 1, maxHead, 9000, 150} {
		request := padded(size, "GET /v2/version", "")
		for _, pieces := range []int{1, 3} {
			for part := range pieces {
				_, _ = io.WriteString(c, request[len(request)*part/pieces:len(request)*(part+1)/pieces])
				time.Sleep(time.Duration(pieces-1) * 5 * time.Millisecond)
			}
			if got := r.read("GET", in); got.status != 200 {
				t.Fatalf("a head of %d bytes in %d pieces: %v", size, pieces, got)
			}
		}
	}
	_, _ = io.WriteString(c, padded(maxHead, "POST /v1/restart", asJSON+"\r\nContent-Length: 12\r\n")+`{"appId":12}`)
	wantReply(t, r.read("POST", in), 200, "OK")
	_, _ = io.WriteString(c, padded(8000, "POST /v1/restart", asJSON+"\r\nContent-Length: 12\r\n")+`{"appId":12}`+"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
	wantReply(t, r.read("POST", in), 200, "OK")
	wantReply(t, r.read("GET", in), 200, "OK")
	_, _ = io.WriteString(c, padded(maxHead+1, "GET /ping", ""))
	wantFailure(t, r.read("GET", in), 431, "request header too large")
	r.server.limiter.mu.Lock()
	defer r.server.limiter.mu.Unlock()
	if len(r.server.limiter.open) > 1 {
		t.Errorf("%d connections are open", len(r.server.limiter.open))
	}
}

// No more than maxLongHeads long heads are read at once. Short ones are still served.
func TestLongHeadsAreBounded(t *testing.T) {
	r := start(t)
	long := padded(shortHead+100, "GET /ping", "")
	begin := func() { _, _ = io.WriteString(r.dial(), long[:len(long)-4]) }
	for range maxLongHeads {
		begin()
	}
	for range 300 { // until the server has read them
		if got := r.raw("GET", long); got.status != 200 {
			wantFailure(t, got, 503, textManyLongHeads)
			wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
			return
		}
		time.Sleep(10 * time.Millisecond)
		begin() // a whole head may have taken the slot of an unfinished one
	}
	t.Error("long heads have no bound")
}

// The slot of a long head is free again after the answer, and when the client closes the connection.
func TestSlotsOfLongHeadsAreFreed(t *testing.T) {
	r := start(t)
	// answered sends a long head until there is a slot: the server may not know yet that an earlier client is gone.
	answered := func() net.Conn {
		for range 1000 {
			c := r.dial()
			_, _ = io.WriteString(c, padded(shortHead+100, "GET /ping", ""))
			if r.read("GET", bufio.NewReader(c)).status == 200 {
				return c
			}
			c.Close()
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("no slot was freed")
		return nil
	}
	for range 2 * maxLongHeads {
		c := answered()
		_, _ = io.WriteString(c, padded(shortHead+100, "GET /ping", "")[:shortHead+50])
		c.Close()
	}
	answered()
}

// headers returns the status line and the headers of an answer, by lower-case name.
func headers(answer string) (status string, fields map[string]string) {
	lines := strings.Split(answer, "\r\n")
	fields = map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		fields[strings.ToLower(name)] += value
	}
	return lines[0], fields
}

// The Connection and Keep-Alive headers are true.
func TestConnectionHeaders(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		request string
		stays   bool
	}{
		{"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false},
		{"GET /ping HTTP/1.0\r\n\r\n", false},
		{"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
		{"HEAD /ping HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
		{"GET /no-such HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"GET /v2/local/logs?apikey=" + globalTestKey + " HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"GET /v2/local/logs?apikey=" + globalTestKey + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
	} {
		conn := r.dial()
		_, _ = io.WriteString(conn, c.request)
		in := bufio.NewReader(conn)
		var head strings.Builder
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = in.ReadString('\n'); err != nil {
				t.Fatalf("%q: %v", c.request, err)
			}
			head.WriteString(line)
		}
		_, fields := headers(strings.TrimSuffix(head.String(), "\r\n\r\n"))
		wantConnection, wantLife := "keep-alive", "timeout=60"
		if !c.stays {
			wantConnection, wantLife = "close", ""
		}
		if fields["connection"] != wantConnection || fields["keep-alive"] != wantLife {
			t.Errorf("%q: %v", c.request, fields)
		}
		if !c.stays {
			if _, err := io.ReadAll(in); err != nil {
				t.Errorf("%q: ends with %v", c.request, err)
			}
		}
	}
	if l := defaultLimits(); l.idle < l.keepAlive+10*time.Second || l.keepAlive%time.Second != 0 {
		t.Errorf("clients are told %v, connections end after %v", l.keepAlive, l.idle)
	}
}

// A client can use its connection again within the keep-alive timeout that it was told.
func TestKeepAliveTimeout(t *testing.T) {
	l := defaultLimits()
	l.keepAlive, l.head = time.Second, time.Second
	r := startWith(t, l, zerolog.Nop())
	c := r.dial()
	in := bufio.NewReader(c)
	for range 3 {
		_, _ = io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
		got := r.read("GET", in)
		wantReply(t, got, 200, "OK")
		if !strings.Contains(got.header, "Keep-Alive: timeout=1\r\n") {
			t.Fatalf("headers are %s", got.header)
		}
		time.Sleep(l.keepAlive)
	}
}

// HTTP/1.0 does not know chunks: an endless answer lasts until the connection ends.
func TestStreamsOfHTTP10(t *testing.T) {
	for _, keep := range []string{"", "Connection: keep-alive\r\n"} {
		for route, kind := range map[string]string{"GET /v2/local/logs": "application/x-ndjson", "POST /v2/journal-logs": typeText, "HEAD /v2/local/logs": "application/x-ndjson"} {
			r := start(t)
			r.source = newSource()
			c := r.dial()
			fmt.Fprintf(c, "%s?apikey=%s HTTP/1.0\r\n%sContent-Length: 0\r\n\r\n", route, globalTestKey, keep)
			isHead := strings.HasPrefix(route, "HEAD")
			if !isHead {
				r.wantRunning(t, 1)
				r.source.lines <- []byte("one\n")
				r.source.lines <- []byte(strings.Repeat("x", 3000) + "\n")
				close(r.source.lines)
			}
			answer, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("%s: ends with %v", route, err)
			}
			head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
			status, fields := headers(head)
			if status != "HTTP/1.1 200 OK" || len(fields) != 2 || fields["content-type"] != kind || fields["connection"] != "close" {
				t.Errorf("%s: %s %v", route, status, fields)
			}
			want := "one\n" + strings.Repeat("x", 3000) + "\n"
			if isHead {
				want = ""
			}
			if body != want {
				t.Errorf("%s: body is %.60q", route, body)
			}
			wantClosed(t, r.source)
			r.wantRunning(t, 0)
		}
	}
}

// The stream of an HTTP/1.0 client ends with its client, and with the server.
func TestStreamOfHTTP10Ends(t *testing.T) {
	r := start(t)
	r.source = newSource()
	c := r.dial()
	fmt.Fprintf(c, "GET /v2/local/logs?apikey=%s HTTP/1.0\r\n\r\n", globalTestKey)
	r.wantRunning(t, 1)
	c.Close()
	wantClosed(t, r.source)
	r.wantRunning(t, 0)
	r.source = newSource()
	c = r.dial()
	fmt.Fprintf(c, "GET /v2/local/logs?apikey=%s HTTP/1.0\r\n\r\n", globalTestKey)
	r.wantRunning(t, 1)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, r.source)
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("ends with %v", err)
	}
}
