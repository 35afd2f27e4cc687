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

// start runs a heartbeat until the test ends, and returns the calls of Changed.
func start(t *testing.T, o Options) (*Heartbeat, <-chan bool) {
	changes := make(chan bool, 100)
	o.Changed = func(connected bool) { changes <- connected }
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
	return h, changes
}

// scripted is a Dial that the test controls: each probe sends its address, and then waits for its answer.
type scripted struct {
	probes  chan string
	answers chan error
}

func script() scripted {
	return scripted{make(chan string), make(chan error)}
}

func (s scripted) dial(ctx context.Context, network, address string) (net.Conn, error) {
	select {
	case s.probes <- network + " " + address:
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

// wantNoProbe fails when there is a probe within a few intervals.
func (s scripted) wantNoProbe(t *testing.T) {
	t.Helper()
	select {
	case <-s.probes:
		t.Fatal("a probe that was not due")
	case <-time.After(5 * short):
	}
}

var errRefused = errors.New("refused")

func TestHeartbeatReachesARealServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	h, changes := start(t, Options{Host: "127.0.0.1", Port: port, Interval: short})
	if !next10s(t, changes) || !h.Connected() {
		t.Fatal("server was not reached")
	}
	must(t, listener.Close())
	if next10s(t, changes) || h.Connected() {
		t.Fatal("loss was not seen")
	}
	listener, err = net.Listen("tcp", listener.Addr().String())
	must(t, err)
	defer listener.Close()
	if !next10s(t, changes) {
		t.Fatal("server was not reached again")
	}
}

func TestHeartbeatIsNotConnectedBeforeTheFirstResult(t *testing.T) {
	s := script()
	h, changes := start(t, Options{Host: "api.example.com", Port: 443, Interval: endless, Dial: s.dial})
	if got := next10s(t, s.probes); got != "tcp api.example.com:443" {
		t.Fatalf("tried %s", got)
	}
	if h.Connected() || len(changes) != 0 {
		t.Fatal("a result before the first answer")
	}
	s.answers <- errRefused
	if next10s(t, changes) || h.Connected() {
		t.Fatal("the first failure was not reported")
	}
	s.wantNoProbe(t)
}

func TestHeartbeatReportsOnlyChanges(t *testing.T) {
	s := script()
	_, changes := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial})
	for _, err := range []error{nil, nil, nil, errRefused, errRefused, nil} {
		next10s(t, s.probes)
		s.answers <- err
	}
	next10s(t, s.probes) // the last result has been recorded
	got := []bool{<-changes, <-changes, <-changes}
	if !got[0] || got[1] || !got[2] || len(changes) != 0 {
		t.Fatalf("reported %v and %d more", got, len(changes))
	}
}

func TestHeartbeatAbandonsAProbeThatHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, changes := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: func(context.Context, string, string) (net.Conn, error) {
		<-release // even the end of the context does not stop it
		return nil, errRefused
	}})
	if next10s(t, changes) {
		t.Fatal("reported connected")
	}
}

func TestHeartbeatEnable(t *testing.T) {
	s := script()
	h, changes := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial})
	next10s(t, s.probes)
	s.answers <- errRefused
	next10s(t, changes)
	next10s(t, s.probes) // running, and abandoned because the check is disabled
	h.Enable(false)
	if !h.Connected() || !next10s(t, changes) {
		t.Fatal("disabled does not count as connected")
	}
	s.wantNoProbe(t)
	h.Enable(false)
	h.Enable(true)
	next10s(t, s.probes)
	if !h.Connected() {
		t.Fatal("not connected before a probe failed")
	}
	s.answers <- errRefused
	if next10s(t, changes) || h.Connected() {
		t.Fatal("the loss was not reported")
	}
}

// docs/spec/device-api.md 2.9: the last writer wins, and the configuration writes only when it changes.
func TestHeartbeatConfigure(t *testing.T) {
	s := script()
	h, changes := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial})
	next10s(t, s.probes)
	s.answers <- errRefused
	next10s(t, changes)
	h.Enable(false)
	next10s(t, changes)
	h.Configure(true) // as before
	s.wantNoProbe(t)
	h.Configure(false)
	h.Enable(true)
	next10s(t, s.probes)
	s.answers <- errRefused
	h.Configure(false) // as before
	next10s(t, s.probes)
	h.Configure(true)
	h.Configure(false)
	s.wantNoProbe(t)
	if !h.Connected() {
		t.Fatal("disabled, but not connected")
	}
}

func TestHeartbeatFollowsTheVPN(t *testing.T) {
	dir := t.TempDir()
	active := filepath.Join(dir, "active")
	must(t, os.WriteFile(active, nil, 0o600))
	v, vpnChanges := vpnAt(t, dir)
	s := script()
	h, changes := start(t, Options{Host: "h", Port: 1, Interval: short, Dial: s.dial, VPN: v})
	if !next10s(t, changes) || !h.Connected() {
		t.Fatal("the VPN does not count as connected")
	}
	s.wantNoProbe(t)
	must(t, os.Remove(active))
	next10s(t, s.probes)
	s.answers <- errRefused
	if next10s(t, changes) || h.Connected() {
		t.Fatal("the loss was not reported")
	}
	next10s(t, s.probes) // running, and abandoned because the VPN is up
	must(t, os.WriteFile(active, nil, 0o600))
	if !next10s(t, changes) || !h.Connected() {
		t.Fatal("the VPN that came back was not seen")
	}
	s.wantNoProbe(t)
	if len(vpnChanges) != 2 {
		t.Fatalf("the other follower saw %d changes, want 2", len(vpnChanges))
	}
}

func TestHeartbeatUnmanaged(t *testing.T) {
	s := script()
	h, changes := start(t, Options{Interval: short, Dial: s.dial})
	if !next10s(t, changes) {
		t.Fatal("reported not connected")
	}
	h.Enable(false)
	h.Enable(true)
	s.wantNoProbe(t)
	if !h.Connected() {
		t.Fatal("not connected")
	}
}

// While the VPN is up no timer runs: a probe that is due every millisecond would wake the process a thousand times a
// second.
func TestHeartbeatSleepsWhileTheVPNIsUp(t *testing.T) {
	dir := t.TempDir()
	active := filepath.Join(dir, "active")
	must(t, os.WriteFile(active, nil, 0o600))
	v, _ := vpnAt(t, dir)
	h, changes := start(t, Options{Host: "h", Port: 1, Interval: time.Millisecond, VPN: v, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errRefused
	}})
	if !next10s(t, changes) {
		t.Fatal("the VPN does not count as connected")
	}
	// A busy machine adds wake-ups while the VPN is up and takes some away while it is down: several counts are taken.
	up := switches(t)
	for n := 1; n < 5 && up > 30; n++ {
		up = min(up, switches(t))
	}
	must(t, os.Remove(active))
	next10s(t, changes)
	down := switches(t)
	for n := 1; n < 30 && down < 1000; n++ {
		down = max(down, switches(t))
	}
	if down < 1000 || up > down/10 || h.Connected() {
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
