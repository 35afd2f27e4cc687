package ping

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// short is an interval that a test can wait for; endless is one that it cannot.
const (
	short   = 20 * time.Millisecond
	endless = time.Hour
)

// start runs a heartbeat until the test ends and returns what Changed was told.
func start(t *testing.T, o Options) (*Heartbeat, <-chan bool) {
	told := make(chan bool, 100)
	o.Changed = func(connected bool) { told <- connected }
	h := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		h.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		next10s(t, ended)
	})
	return h, told
}

// scripted is a Dial whose answers the test gives: each try first announces its address.
type scripted struct {
	tries   chan string
	answers chan error
}

func script() scripted {
	return scripted{make(chan string), make(chan error)}
}

func (s scripted) dial(ctx context.Context, network, address string) (net.Conn, error) {
	select {
	case s.tries <- network + " " + address:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-s.answers:
		if err != nil {
			return nil, err
		}
		conn, _ := net.Pipe()
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// quiet fails when a try is made within a few intervals.
func (s scripted) quiet(t *testing.T) {
	t.Helper()
	select {
	case <-s.tries:
		t.Fatal("a try that was not due")
	case <-time.After(5 * short):
	}
}

var errRefused = errors.New("refused")

func TestHeartbeatReachesARealServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	h, told := start(t, Options{Host: "127.0.0.1", Port: port, Interval: short})
	if !next10s(t, told) || !h.Connected() {
		t.Fatal("server was not reached")
	}
	must(t, listener.Close())
	if next10s(t, told) || h.Connected() {
		t.Fatal("loss was not seen")
	}
	listener, err = net.Listen("tcp", listener.Addr().String())
	must(t, err)
	defer listener.Close()
	if !next10s(t, told) {
		t.Fatal("server was not reached again")
	}
}

func TestHeartbeatIsNotConnectedBeforeTheFirstResult(t *testing.T) {
	s := script()
	h, told := start(t, Options{Host: "api.example.com", Port: 443, Interval: endless, Dial: s.dial})
	if got := next10s(t, s.tries); got != "tcp api.example.com:443" {
		t.Fatalf("tried %s", got)
	}
	if h.Connected() || len(told) != 0 {
		t.Fatal("a result before the first answer")
	}
	s.answers <- errRefused
	if next10s(t, told) || h.Connected() {
		t.Fatal("the first failure was not told")
	}
	s.quiet(t)
}

func TestHeartbeatTellsOnlyChanges(t *testing.T) {
	s := script()
	_, told := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial})
	for _, err := range []error{nil, nil, nil, errRefused, errRefused, nil} {
		next10s(t, s.tries)
		s.answers <- err
	}
	next10s(t, s.tries) // so the last answer was taken
	got := []bool{<-told, <-told, <-told}
	if !got[0] || got[1] || !got[2] || len(told) != 0 {
		t.Fatalf("told %v and %d more", got, len(told))
	}
}

func TestHeartbeatGivesUpATryThatHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, told := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: func(context.Context, string, string) (net.Conn, error) {
		<-release // not even the context ends it
		return nil, errRefused
	}})
	if next10s(t, told) {
		t.Fatal("told connected")
	}
}

func TestHeartbeatEnable(t *testing.T) {
	s := script()
	h, told := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial})
	next10s(t, s.tries)
	s.answers <- errRefused
	next10s(t, told)
	next10s(t, s.tries) // under way, and abandoned by disabling
	h.Enable(false)
	if !h.Connected() || !next10s(t, told) {
		t.Fatal("disabled does not count as connected")
	}
	s.quiet(t)
	h.Enable(false)
	h.Enable(true)
	next10s(t, s.tries)
	if !h.Connected() {
		t.Fatal("not connected before a try said so")
	}
	s.answers <- errRefused
	if next10s(t, told) || h.Connected() {
		t.Fatal("loss was not told")
	}
}

// docs/spec/device-api.md 2.9: the last writer wins, and the configuration writes only when it changes.
func TestHeartbeatConfigure(t *testing.T) {
	s := script()
	h, told := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial})
	next10s(t, s.tries)
	s.answers <- errRefused
	next10s(t, told)
	h.Enable(false)
	next10s(t, told)
	h.Configure(true) // as before
	s.quiet(t)
	h.Configure(false)
	h.Enable(true)
	next10s(t, s.tries)
	s.answers <- errRefused
	h.Configure(false) // as before
	next10s(t, s.tries)
	h.Configure(true)
	h.Configure(false)
	s.quiet(t)
	if !h.Connected() {
		t.Fatal("off, and not connected")
	}
}

func TestHeartbeatFollowsTheVPN(t *testing.T) {
	dir := t.TempDir()
	active := filepath.Join(dir, "active")
	must(t, os.WriteFile(active, nil, 0o600))
	v, changes := vpnAt(t, dir)
	s := script()
	h, told := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial, VPN: v})
	if !next10s(t, told) || !h.Connected() {
		t.Fatal("the VPN does not count as connected")
	}
	s.quiet(t)
	must(t, os.Remove(active))
	next10s(t, s.tries)
	s.answers <- errRefused
	if next10s(t, told) || h.Connected() {
		t.Fatal("loss was not told")
	}
	next10s(t, s.tries) // under way, and abandoned by the VPN
	must(t, os.WriteFile(active, nil, 0o600))
	if !next10s(t, told) || !h.Connected() {
		t.Fatal("the VPN that came back was not seen")
	}
	s.quiet(t)
	if len(changes) != 2 {
		t.Fatalf("the other follower saw %d changes, want 2", len(changes))
	}
}

func TestHeartbeatUnmanaged(t *testing.T) {
	s := script()
	h, told := start(t, Options{Interval: short, Dial: s.dial})
	if !next10s(t, told) {
		t.Fatal("told not connected")
	}
	h.Enable(false)
	h.Enable(true)
	s.quiet(t)
	if !h.Connected() {
		t.Fatal("not connected")
	}
}

// While the VPN is up no timer runs: a try that was due every millisecond would wake the process a
// thousand times a second.
func TestHeartbeatSleepsWhileTheVPNIsUp(t *testing.T) {
	dir := t.TempDir()
	active := filepath.Join(dir, "active")
	must(t, os.WriteFile(active, nil, 0o600))
	v, _ := vpnAt(t, dir)
	h, told := start(t, Options{Host: "h", Port: 1, Interval: time.Millisecond, VPN: v, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errRefused
	}})
	if !next10s(t, told) {
		t.Fatal("the VPN does not count as connected")
	}
	up := switches(t)
	must(t, os.Remove(active))
	next10s(t, told)
	if down := switches(t); down < 1000 || up > down/10 || h.Connected() {
		t.Fatalf("%d wake-ups while the VPN is up, %d while it is down", up, down)
	}
}

// switches counts how often the process slept within two seconds.
func switches(t *testing.T) int64 {
	t.Helper()
	var before, after unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &before))
	time.Sleep(2 * time.Second)
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &after))
	return int64(after.Nvcsw - before.Nvcsw)
}
