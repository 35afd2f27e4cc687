package api

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// scripted is a connection whose client has sent everything and closed its side.
type scripted struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *scripted) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *scripted) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// A client gets a sequence of whole HTTP answers, whatever it sends, and no handler panics.
func FuzzConversation(f *testing.F) {
	const key = "?apikey=" + globalTestKey + " HTTP/1.1\r\nHost: x.balena:48484\r\n"
	f.Add([]byte("GET /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/device" + key + "\r\n"))
	f.Add([]byte("POST /v1/restart" + key + "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"appId\":12}GET /PING/ HTTP/1.0\r\n\r\n"))
	f.Add([]byte("POST /v1/purge" + key + "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nappId=13\r\n0\r\n\r\n"))
	f.Add([]byte("HEAD /v2/version" + key + "\r\nOPTIONS /v1/device" + key + "\r\nGET /v2/applications/%zz/state" + key + "\r\n"))
	f.Add([]byte("POST /v1/update" + key + "Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		m := newMemory()
		var log bytes.Buffer
		s := newServer(m, m, m, zerolog.New(&log), defaultLimits())
		s.handlers.ctx = context.Background()
		c := &scripted{in: bytes.NewReader(sent)}
		s.newConnServer().serve(s.limiter.admit(c))
		if bytes.Contains(log.Bytes(), []byte("panicked")) {
			t.Fatalf("%q: %s", sent, log.String())
		}
		wantAnswers(t, sent, c.out.Bytes())
	})
}

func wantAnswers(t *testing.T, sent, got []byte) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(got))
	for {
		var head fasthttp.ResponseHeader
		if err := head.Read(r); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%q is answered with %q: %v", sent, got, err)
		}
		if code := head.StatusCode(); code < 200 {
			continue
		}
		// An answer to HEAD has a length but no body: the next answer, or the end, follows at once.
		if next, _ := r.Peek(9); string(next) == "HTTP/1.1 " || len(next) == 0 {
			continue
		}
		if _, err := r.Discard(head.ContentLength()); err != nil {
			t.Fatalf("%q is answered with %q: %v", sent, got, err)
		}
	}
}
