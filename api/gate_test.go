package api

import (
	"net"
	"net/netip"
	"testing"

	"github.com/rs/zerolog"
)

// Where a handler is at work for all connections that there may be, the routes that are open to everyone are
// served all the same, over a few connections more; of these nobody can take one for anything else.
func TestPlacesOfTheOpenRoutes(t *testing.T) {
	l := defaultLimits()
	l.connections = 4
	r := startWith(t, l, zerolog.Nop())
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	answers := make(chan reply, l.connections)
	for range l.connections {
		go func() { answers <- r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`) }()
		<-r.memory.entered
	}
	for range 2 * extraPlaces {
		r.dial() // says nothing
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

// from is a connection of an address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.address), 4000))
}

// Read is one of as many bytes as p takes.
func (from) Read(p []byte) (int, error) { return len(p), nil }

// crowd lets connections of addresses in.
func crowd(t *testing.T, g *gate, addresses ...string) []*conn {
	t.Helper()
	var conns []*conn
	for _, address := range addresses {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		c := g.admit(from{here, address})
		if c == nil {
			t.Fatalf("%s is not admitted", address)
		}
		conns = append(conns, c)
	}
	return conns
}

// wantGone lets one more connection in after the other, and looks who makes room for it.
func wantGone(t *testing.T, g *gate, address string, gone ...*conn) {
	t.Helper()
	for i, c := range gone {
		crowd(t, g, address)
		if _, open := g.open[c]; open {
			t.Errorf("%d: another one made room", i)
		}
	}
}

// ask is a request of c, up to its answer.
func ask(g *gate, c *conn) {
	g.idle(c, false)
	g.turn(c)
	g.busy(c)
	g.idle(c, true)
}

// Who waits longest for its client makes room first, whether it was served or not. A request and a part of a
// body end the wait.
func TestWhoMakesRoom(t *testing.T) {
	g := newGate(5)
	const a = "10.0.0.1"
	c := crowd(t, g, a, a, a, a, a)
	ask(g, c[0])
	g.idle(c[0], false) // waits for the next request now
	g.turn(c[1])        // has sent a head, and no body yet
	for i, n := range map[int]int{2: bodyStep, 3: bodyStep - 1} {
		if _, err := c[i].receive(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	wantGone(t, g, a, c[3], c[4], c[0], c[1], c[2])
}

// Clients that ask on without taking their answers make room before all others.
func TestHastyClientsMakeRoomFirst(t *testing.T) {
	g := newGate(3)
	const a = "10.0.0.1"
	c := crowd(t, g, a, a, a)
	ask(g, c[2])
	g.turn(c[2])
	ask(g, c[0])
	ask(g, c[0])
	wantGone(t, g, a, c[2], c[1], c[0])
}

// A flood of connections from one address ends none of another.
func TestAddressesWithMostConnectionsMakeRoom(t *testing.T) {
	g := newGate(6)
	const good, bad = "10.0.0.1", "::ffff:10.0.0.2"
	kept := crowd(t, g, good, good)
	crowd(t, g, bad, bad, bad, bad)
	for range 100 {
		crowd(t, g, bad)
	}
	for i, c := range kept {
		if _, open := g.open[c]; !open {
			t.Errorf("%d made room for a flood", i)
		}
	}
	for c := range g.open {
		g.leave(c)
	}
	if len(g.peers) > 0 {
		t.Errorf("%d addresses are left", len(g.peers))
	}
}

// A handler that works for a connection over TCP keeps it from making room.
func TestRequestsBelongToTheirConnections(t *testing.T) {
	l := defaultLimits()
	l.connections = 1
	r := startWith(t, l, zerolog.Nop())
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	answer := make(chan reply)
	go func() {
		defer close(answer) // also when there is none
		answer <- r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`)
	}()
	<-r.memory.entered
	for range 2 * extraPlaces {
		wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	}
	close(r.memory.hold)
	wantReply(t, <-answer, 200, "OK")
}
