package surface_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// flood lets n clients with a key ask one thing after the other until the test ends, of which none reads an
// answer. One whose connection is closed comes back at once.
func flood(t *testing.T, s *harness.Supervisor, n int, what string) {
	text := strings.Repeat(what+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.Key()+"\r\n\r\n", 1000)
	over := make(chan struct{})
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { close(over) })
	isOver := func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	var begun sync.WaitGroup
	begun.Add(n)
	for range n {
		begins := sync.OnceFunc(begun.Done)
		all.Go(func() {
			for !isOver() {
				conn, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(s.Port), time.Second)
				for err == nil && !isOver() {
					conn.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err = io.WriteString(conn, text); errors.Is(err, os.ErrDeadlineExceeded) {
						err = nil // no room for more: hold it
					}
					begins()
				}
				if conn != nil {
					conn.Close()
				}
			}
		})
	}
	begun.Wait()
}

// docs/spec/device-api.md 4: 155. More clients than there are places, which ask all the time and read nothing,
// do not keep the open endpoints from being served, each over a connection of its own.
func TestFloodDoesNotStopPing(t *testing.T) {
	s := bare(t)
	flood(t, s, 700, "GET /v1/device")
	answers(t, s, "a flood")
	if used := own(t, s); used > loadBudget {
		t.Errorf("%d KiB of memory, the budget is %d", used, loadBudget)
	}
}
