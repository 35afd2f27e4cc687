package api

import (
	"net"
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

// Of those that wait for their clients, one that was served before makes room first, so that one who asks all
// the time does not end one who has just come.
func TestServedConnectionsMakeRoomFirst(t *testing.T) {
	g := newGate(3)
	conns := make([]*conn, 4)
	for i := range conns[:3] {
		here, there := net.Pipe()
		defer there.Close()
		conns[i] = g.admit(here)
	}
	g.busy(conns[1])
	g.idle(conns[1], false)
	for i, gone := range []*conn{conns[1], conns[0], conns[2]} {
		here, there := net.Pipe()
		defer there.Close()
		if g.admit(here) == nil {
			t.Fatalf("%d: not admitted", i)
		}
		if _, open := g.open[gone]; open {
			t.Errorf("%d: another one made room", i)
		}
	}
}
