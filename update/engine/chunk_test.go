package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"testing"
)

// unchunk decodes a body at once and byte by byte, which must give the same.
func unchunk(t *testing.T, body string) (got string, ended bool, err error) {
	t.Helper()
	decode := func(step int) (string, bool, error) {
		var out strings.Builder
		c := &chunks{to: func(p []byte) error { out.Write(p); return nil }}
		for at := 0; at < len(body); at += step {
			if err := c.write([]byte(body[at:min(at+step, len(body))])); err != nil {
				return out.String(), false, err
			}
		}
		return out.String(), c.state == atEnd, nil
	}
	got, ended, err = decode(len(body) + 1)
	single, singleEnded, singleErr := decode(1)
	if single != got || singleEnded != ended || !errors.Is(singleErr, err) {
		t.Errorf("%.80q: byte by byte %.80q %v %v, at once %.80q %v %v", body, single, singleEnded, singleErr, got, ended, err)
	}
	return got, ended, err
}

func TestChunks(t *testing.T) {
	good := func(body, want string, wantEnd bool) {
		t.Helper()
		if got, ended, err := unchunk(t, body); got != want || ended != wantEnd || err != nil {
			t.Errorf("%q: got %q, ended %v, %v", body, got, ended, err)
		}
	}
	good("3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", true)
	good("1a \r\nabcdefghijklmnopqrstuvwxyz\r\n", "abcdefghijklmnopqrstuvwxyz", false)
	good("2\nab\n0\n\n", "ab", true)
	good("1\r\na\r\n000\r\nTrailer: x\r\nOther: y\r\n\r\nbehind it", "a", true)
	good("1\r\na\r\n0\r\n\r", "a", false)
	good("5\r\nab", "ab", false)
	for _, bad := range []string{"\r\n", "x\r\n", "-1\r\n", "1\r\nab\r\n", "1\r\na1\r\n", "10000000000000000\r\n", ";\r\n", "1\r\na\rx\n",
		"1;" + strings.Repeat("x", maxChunkLine) + "\r\na\r\n"} {
		if got, ended, err := unchunk(t, bad); err != errChunk {
			t.Errorf("%.40q: got %q, ended %v, %v", bad, got, ended, err)
		}
	}
	fault := errors.New("fault")
	if err := (&chunks{to: func([]byte) error { return fault }}).write([]byte("1\r\na")); err != fault {
		t.Errorf("got %v", err)
	}
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("3;x\r\nabc\r\n0\r\nA: b\r\n\r\nrest"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ended, err := unchunk(t, string(body))
		if len(got) > len(body) {
			t.Fatalf("%d bytes of %d", len(got), len(body))
		}
		other, otherErr := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
		if otherErr == nil && err == nil && ended && string(other) != got {
			t.Fatalf("got %q, the standard library %q", got, other)
		}
	})
}

// A stream is read to its end, whether that comes with the last chunk or too early.
func TestPour(t *testing.T) {
	f := func(wantErr error, want string, parts ...string) {
		t.Helper()
		listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		heard := make(chan struct{})
		go func() {
			conn, _ := listener.Accept()
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 4096))
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for _, p := range parts {
				fmt.Fprintf(conn, "%x\r\n%s\r\n", len(p), p)
				if p != "" {
					<-heard
				}
			}
		}()
		var got strings.Builder
		c := New(listener.Addr().String())
		c.spoken.Store(&dialect{})
		err = c.Logs(t.Context(), "a", LogOptions{Tty: true, Follow: true}, func(l LogLine) {
			got.Write(l.Text)
			heard <- struct{}{}
		})
		if got.String() != want || !errors.Is(err, wantErr) {
			t.Errorf("%q: got %q, %v", parts, got.String(), err)
		}
	}
	long := strings.Repeat("x", 3*pageSize)
	f(nil, "one"+"two"+long, "one\n", "two\n", long+"\n", "")
	f(io.ErrUnexpectedEOF, "one", "one\n")
}
