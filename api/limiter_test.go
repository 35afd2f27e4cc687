package api

import (
	"net"
	"net/netip"
	"testing"

	"github.com/rs/zerolog"
)

// When handlers work for all connections, the reserve still serves the open routes, and no other route.
func TestReserveOfTheOpenRoutes(t *testing.T) {
	l := defaultLimits()
	l.connections = 4
	r := startWith(t, l, zerolog.Nop())
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	answers := make(chan reply, l.connections)
	for range l.connections {
		go func() { answers <- r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`) }()
		<-r.memory.entered
	}
	for range 2 * reserveSize {
		r.dial() // sends nothing
		wantFailure(t, r.do(globalTestKey, "GET", "/v2/version", ""), 503, textBusy)
		wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
		wantReply(t, r.send("GET", "/v1/healthy", ""), 200, "OK")
	}
	close(r.memory.hold)
	for range l.connections {
		wantReply(t, <-answers, 200, "OK")
	}
	wantReply(t, r.do(globalTestKey, "GET", "/v2/version", ""), 200, `{"status":"success","version":"20.0.1"}`)
}

// from is a connection from an address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.address), 4000))
}

// Read fills p.
func (from) Read(p []byte) (int, error) { return len(p), nil }

// crowd admits one connection from each address.
func crowd(t *testing.T, lim *limiter, addresses ...string) []*conn {
	t.Helper()
	var conns []*conn
	for _, address := range addresses {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		c := lim.admit(from{here, address})
		if c == nil {
			t.Fatalf("%s is not admitted", address)
		}
		conns = append(conns, c)
	}
	return conns
}

// wantEvicted admits more connections, and wants each of them to evict the next one of evicted.
func wantEvicted(t *testing.T, lim *limiter, address string, evicted ...*conn) {
	t.Helper()
	for i, c := range evicted {
		crowd(t, lim, address)
		if _, open := lim.open[c]; open {
			t.Errorf("%d: another connection was evicted", i)
		}
	}
}

// request is a request of c, up to its answer.
func request(lim *limiter, c *conn) {
	lim.markWaiting(c, false)
	lim.yield(c)
	lim.markBusy(c)
	lim.markWaiting(c, true)
}

// The connection that has waited longest for its client is evicted first, whether it was served or not. A request and
// a part of a body restart the wait.
func TestLongestWaitIsEvicted(t *testing.T) {
	lim := newLimiter(5)
	const a = "10.0.0.1"
	c := crowd(t, lim, a, a, a, a, a)
	request(lim, c[0])
	lim.markWaiting(c[0], false) // waits for the next request
	lim.yield(c[1])              // has sent a head, and no body yet
	for i, n := range map[int]int{2: progressBytes, 3: progressBytes - 1} {
		if _, err := c[i].receive(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	wantEvicted(t, lim, a, c[3], c[4], c[0], c[1], c[2])
}

// Clients that send requests without taking their answers are evicted before all others.
func TestPipeliningClientsAreEvictedFirst(t *testing.T) {
	lim := newLimiter(3)
	const a = "10.0.0.1"
	c := crowd(t, lim, a, a, a)
	request(lim, c[2])
	lim.yield(c[2])
	request(lim, c[0])
	request(lim, c[0])
	wantEvicted(t, lim, a, c[2], c[1], c[0])
}

// A flood of connections from one address evicts none of another address.
func TestAddressesWithMostConnectionsAreEvicted(t *testing.T) {
	lim := newLimiter(6)
	const good, bad = "10.0.0.1", "::ffff:10.0.0.2"
	kept := crowd(t, lim, good, good)
	crowd(t, lim, bad, bad, bad, bad)
	for range 100 {
		crowd(t, lim, bad)
	}
	for i, c := range kept {
		if _, open := lim.open[c]; !open {
			t.Errorf("the flood evicted connection %d", i)
		}
	}
	for c := range lim.open {
		lim.remove(c)
	}
	if len(lim.peers) > 0 {
		t.Errorf("%d addresses are left", len(lim.peers))
	}
}

// A TCP connection is not evicted while a handler works for it.
func TestBusyConnectionIsNotEvicted(t *testing.T) {
	l := defaultLimits()
	l.connections = 1
	r := startWith(t, l, zerolog.Nop())
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	answer := make(chan reply)
	go func() {
		defer close(answer) // even if there is no answer
		answer <- r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`)
	}()
	<-r.memory.entered
	for range 2 * reserveSize {
		wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	}
	close(r.memory.hold)
	wantReply(t, <-answer, 200, "OK")
}
