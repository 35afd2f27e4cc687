package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// These tests are about connections that fail: no answer, a broken one, one without an end. The tests in test/engine use a
// real engine.

// speaker listens on a socket. It answers each request with say, then closes the connection.
func speaker(t *testing.T, say func(w io.Writer)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var req fasthttp.Request
				if req.Read(bufio.NewReader(conn)) == nil {
					say(conn)
				}
			}()
		}
	}()
	return New("unix://" + path)
}

// speaks answers every request with the same bytes.
func speaks(t *testing.T, text string) *Client {
	return speaker(t, func(w io.Writer) { io.WriteString(w, text) })
}

// silent accepts calls and never answers. It sends to began for each call.
func silent(t *testing.T) (c *Client, began chan struct{}) {
	began = make(chan struct{}, 8)
	end := make(chan struct{})
	c = speaker(t, func(io.Writer) { began <- struct{}{}; <-end })
	t.Cleanup(func() { close(end) })
	return c, began
}

// probe makes one call without negotiation.
func (c *Client) probe(ctx context.Context, r request, out any) error {
	a, err := c.exchange(ctx, r, "")
	if err != nil {
		return err
	}
	return c.decode(ctx, r, a, out)
}

func TestAnswers(t *testing.T) {
	f := func(raw, wantValue, wantErr string) {
		t.Helper()
		var out struct{ V string }
		err := speaks(t, raw).probe(t.Context(), get("read", "/x", nil), &out)
		if out.V != wantValue || errText(err) != wantErr {
			t.Errorf("%.60q: got %q %v, want %q %s", raw, out.V, err, wantValue, wantErr)
		}
		if bodiless := wantErr != "" && !strings.Contains(raw, " 500 "); bodiless && !IsUnknown(err) {
			t.Errorf("%.60q: %v has a status", raw, err)
		}
	}
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	f("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"V\":\"a\"}", "a", "")
	f("HTTP/1.0 200 OK\r\n\r\n{\"V\":\"a\"}", "a", "")
	f("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"V\":\"a\"}", "a", "")
	f(chunked+"4\r\n{\"V\"\r\n5\r\n:\"a\"}\r\n0\r\n\r\n", "a", "")
	f(chunked+"4\r\n{\"V\"\r\n", "", "read: connection closed by the engine")
	f(chunked+"9\r\n{\"V\":\"a\"}\r\n", "", "read: connection closed by the engine") // without its last chunk
	f("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"V\":\"a\"}", "", "read: connection closed by the engine")
	f("", "", "read: connection closed by the engine")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "", "read: cannot decode the answer: unexpected end of JSON input")
	f("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"V\":1  }", "",
		"read: cannot decode the answer: json: cannot unmarshal number into Go struct field .V of type string")
	f("HTTP/1.1 500 No\r\nContent-Length: 15\r\n\r\n{\"message\":\"m\"}", "", "read: m")
	f("HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\ncut", "", "read: cut")
	f("HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n"+strings.Repeat(" ", maxAnswer+1), "", "read: answer is too long")
}

func TestAnswerWithoutEnd(t *testing.T) {
	c := speaker(t, func(w io.Writer) {
		fmt.Fprint(w, "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			if _, err := fmt.Fprintf(w, "1000\r\n%s\r\n", strings.Repeat("x", 0x1000)); err != nil {
				return
			}
		}
	})
	err := c.probe(t.Context(), get("read", "/x", nil), nil)
	if !IsNotFound(err) || len(err.Error()) > maxReason+100 {
		t.Fatalf("%.100v", err)
	}
}

func TestSilenceEndsACallWithABound(t *testing.T) {
	c, _ := silent(t)
	err := c.probe(t.Context(), get("read", "/x", nil).within(20*time.Millisecond), nil)
	if errText(err) != "read: no answer within 20ms" || !IsUnknown(err) {
		t.Fatal(err)
	}
}

func TestContextEndsACall(t *testing.T) {
	c, began := silent(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	err := c.probe(ctx, post("stop", "/x", nil, nil).within(0), nil)
	if !errors.Is(err, context.Canceled) || !IsUnknown(err) || errText(err) != "stop: context canceled" {
		t.Fatal(err)
	}
}

func TestEndedContextMakesNoCall(t *testing.T) {
	c, began := silent(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.RemoveVolume(ctx, "v"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(began) != 0 {
		t.Fatal("a call was made")
	}
}

func TestContextEndsAStreamAndLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	gone := make(chan struct{})
	c := speaker(t, func(w io.Writer) {
		io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		io.Copy(io.Discard, w.(net.Conn)) // until the client closes the connection
		gone <- struct{}{}
	})
	c.version.Store(&apiVersion{prefix: "/v1.41"})
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.Events(ctx, time.Time{}, cancel, nil); err != nil {
			t.Fatal(err)
		}
		<-gone
	}
	if c.version.Load() == nil {
		t.Error("the end of a context is no reason to negotiate again")
	}
	// Only the listener of this test remains; its last connections may still be ending.
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestBrokenStreams(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		c := speaks(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+raw)
		call := func(what string, fn func() error) {
			t.Helper()
			c.version.Store(&apiVersion{prefix: "/v1.41"})
			if err := fn(); !strings.HasSuffix(errText(err), want) || !IsUnknown(err) {
				t.Errorf("%s: %v, want %s", what, err, want)
			}
			if c.version.Load() != nil {
				t.Errorf("%s: version is kept after a broken connection", what)
			}
		}
		call("events", func() error { return c.Events(t.Context(), time.Time{}, nil, nil) })
		call("pull", func() error { return c.Pull(t.Context(), "a", "1", nil, nil) })
		call("logs", func() error { return c.Logs(t.Context(), "a", LogOptions{}, func(LogLine) {}) })
	}
	f("", "connection closed by the engine")
	f("2", "EOF")
	f("3\r\n\x01\x00\r\n", "")
}

func TestEventsNeverEndWell(t *testing.T) {
	c := speaks(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	c.version.Store(&apiVersion{prefix: "/v1.41"})
	err := c.Events(t.Context(), time.Time{}, nil, nil)
	if errText(err) != "follow events: connection closed by the engine" {
		t.Fatal(err)
	}
}

func TestPullNeedsRepositoryAndTag(t *testing.T) {
	f := func(repo, tag string) {
		t.Helper()
		if err := New("/nowhere").Pull(t.Context(), repo, tag, nil, nil); status(err) != 400 {
			t.Error(err)
		}
	}
	f("", "1")
	f("a", "")
}

func TestNobodyListens(t *testing.T) {
	err := New(filepath.Join(t.TempDir(), "none")).RemoveVolume(t.Context(), "v")
	if !IsUnknown(err) || !strings.Contains(errText(err), "no such file") {
		t.Fatal(err)
	}
}
