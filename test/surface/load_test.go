package surface_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// The most that clients can make of the supervisor's own (anonymous) memory, in KiB: the limit that the
// program sets for its heap, and what lies beside that.
const loadBudget = 32 << 10

// crowd is many connections that the test holds.
type crowd struct {
	s     *harness.Supervisor
	mu    sync.Mutex
	conns []net.Conn
}

func newCrowd(t *testing.T, s *harness.Supervisor) *crowd {
	c := &crowd{s: s}
	t.Cleanup(c.leave)
	return c
}

// join opens n connections, some at a time, and lets each begin to talk.
func (c *crowd) join(t *testing.T, n int, talk func(net.Conn)) {
	t.Helper()
	var all sync.WaitGroup
	failed := make(chan error, n)
	turns := make(chan struct{}, 32)
	for range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			dialer := net.Dialer{Timeout: 20 * time.Second, Control: smallWindow}
			conn, err := dialer.Dial("tcp", "127.0.0.1:"+strconv.Itoa(c.s.Port))
			if err != nil {
				failed <- err
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			talk(conn)
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		t.Fatalf("%d of %d connections were not taken: %v", len(failed)+1, n, err)
	default:
	}
}

// smallWindow makes a client whose answers soon wait for it at the other end.
func smallWindow(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
}

// packed is the beginning of a gzip stream, n bytes of it.
func packed(n int) string {
	var b strings.Builder
	w, _ := gzip.NewWriterLevel(&b, gzip.NoCompression)
	w.Write(make([]byte, 2*n))
	w.Close()
	return b.String()[:n]
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// answers makes /ping and the health check answer, each over a connection of its own.
func answers(t *testing.T, s *harness.Supervisor, during string) {
	t.Helper()
	fresh := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	for range 10 {
		res, err := fresh.Get(s.URL("/ping"))
		if err != nil {
			t.Fatalf("/ping during %s: %v", during, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || string(body) != "OK" || err != nil {
			t.Fatalf("/ping during %s: %d %q %v", during, res.StatusCode, body, err)
		}
	}
	if code, out, errs := s.Run("healthcheck"); code != 0 {
		t.Fatalf("healthcheck during %s: %d %s %s", during, code, out, errs)
	}
}

// rest waits until the supervisor has done what there was to do.
func rest(t *testing.T, s *harness.Supervisor) {
	t.Helper()
	spent := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Process().PID()))
		f := strings.Fields(string(text))
		if err != nil || len(f) < 15 {
			t.Fatalf("%v: %s", err, text)
		}
		return f[13] + " " + f[14]
	}
	last := ""
	harness.Until(t, harness.Soon, "the supervisor to rest", func() error {
		before := last
		if last = spent(); last != before {
			time.Sleep(100 * time.Millisecond)
			return errors.New("it works")
		}
		return nil
	})
}

// own is the anonymous memory of the supervisor, in KiB.
func own(t *testing.T, s *harness.Supervisor) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.Process().PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "Anonymous:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	t.Fatalf("no anonymous memory in %s", text)
	return 0
}

// kernel sets a variable of the test's network until the test ends.
func kernel(t *testing.T, name, value string) {
	t.Helper()
	path := "/proc/sys/" + name
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(path, old, 0o644) })
}

// docs/spec/device-api.md 4: 150 (with ten times the connections), 145 for connections.
func TestCrowds(t *testing.T) {
	kernel(t, "net/ipv4/tcp_wmem", "4096 16384 65536") // so that answers nobody reads soon wait
	s := bare(t)
	key := s.Key()
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, text) }
	}
	const head = "POST /v1/restart?apikey=KEY HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	begin := strings.ReplaceAll(head, "KEY", key)
	for _, kind := range []struct {
		name string
		n    int
		talk func(net.Conn)
	}{
		{"idle connections", 10_000, func(net.Conn) {}},
		{"connections idle after a request", 2000, func(c net.Conn) {
			io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			io.ReadFull(c, make([]byte, 64))
		}},
		{"heads without an end", 2000, say("POST /v1/restart HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("a", 3500))},
		{"long heads without an end", 2000, say("POST /v1/restart HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("a", 16_000))},
		{"connections idle after a long head", 2000, func(c net.Conn) {
			io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", 16_000)+"\r\n\r\n")
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			io.ReadFull(c, make([]byte, 64))
		}},
		{"bodies that stop short", 2000, say(begin + "Content-Length: 200000\r\n\r\n" + strings.Repeat(" ", 199_000))},
		{"large bodies that stop short", 400, say(begin + "Content-Length: 10000000\r\n\r\n" + strings.Repeat(" ", 1<<20))},
		{"bodies without an end", 2000, say(begin + "Transfer-Encoding: chunked\r\n\r\n8000\r\n" + strings.Repeat(" ", 0x8000) + "\r\n")},
		{"packed bodies that stop short", 1000, say(begin + "Content-Encoding: gzip\r\nContent-Length: 50000\r\n\r\n" + packed(9000))},
		{"clients that do not read", 1000, say(strings.Repeat("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", 3000))},
	} {
		c := newCrowd(t, s)
		c.join(t, kind.n, func(conn net.Conn) {
			conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			kind.talk(conn)
		})
		rest(t, s)
		answers(t, s, kind.name)
		used := own(t, s)
		t.Logf("%5d %-34s %6d KiB", kind.n, kind.name, used)
		if used > loadBudget {
			t.Errorf("%d %s: %d KiB of memory, the budget is %d", kind.n, kind.name, used, loadBudget)
		}
		c.leave()
	}
	answers(t, s, "the silence after")
}
