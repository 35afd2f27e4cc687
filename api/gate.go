package api

import (
	"container/list"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// gate holds the open connections. When there are too many, one that waits for its client (idle, slow to send
// a request, or slow to take an answer) is closed; one with a handler at work never is. So neither idle nor
// slow clients can keep a new one from being served. conn.before says which one it is. Where all have a handler
// at work, there are some places more, for requests that are open to everyone.
type gate struct {
	mu      sync.Mutex
	limit   int
	closing bool
	open    map[*conn]struct{}
	peers   map[netip.Addr]*peer
	extras  int            // of open, how many have one of the extra places
	waiting list.List      // of *conn, longest wait first: a head or bodyStep of a body ends a wait
	inside  sync.WaitGroup // connections being served
}

// peer is an address with so many open connections.
type peer struct {
	address netip.Addr
	open    int
}

// conn is a client's connection; place is its entry in gate.waiting, nil while a handler works.
type conn struct {
	_ [0]func() // nobody compares it: no code for that

	net.Conn
	gate    *gate
	peer    *peer
	place   *list.Element
	heard   int           // bytes since its wait began
	asked   bool          // a request came, and none was waited for since
	hasty   bool          // a request came before the one before had its answer
	extra   bool          // it has one of the extra places
	writing bool          // it waits for the client to take an answer
	stream  time.Duration // how long one write of an endless answer may take, 0 for any other answer
	head    head
}

// Write waits for the client too: answers that nobody reads fill the connection. Between the parts
// of an answer the handler is at work again. A write of an endless answer has a time of its own; any
// other answer has one for all of it.
func (c *conn) Write(p []byte) (int, error) {
	if c.stream > 0 {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.stream)); err != nil {
			return 0, err
		}
	}
	c.gate.idle(c, true)
	n, err := c.Conn.Write(p)
	c.gate.busy(c)
	return n, err
}

// SetWriteDeadline has no effect on an endless answer.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.stream > 0 {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// receive waits for the client.
func (c *conn) receive(p []byte) (int, error) {
	c.gate.idle(c, false)
	n, err := c.Conn.Read(p)
	c.gate.hear(c, n)
	return n, err
}

// connOf is the connection that a request came on. There is no other kind: it panics on one.
func connOf(ctx *fasthttp.RequestCtx) *conn { return ctx.Conn().(*conn) }

// before tells whether c makes room before other, which has waited longer: clients that ask on without taking
// their answers go first, then those whose address has most connections.
func (c *conn) before(other *conn) bool {
	if c.hasty != other.hasty {
		return c.hasty
	}
	return c.peer.open > other.peer.open
}

func newGate(limit int) *gate {
	return &gate{limit: limit, open: map[*conn]struct{}{}, peers: map[netip.Addr]*peer{}}
}

// extraPlaces is how many connections there may be beyond the limit, for requests that are open to everyone.
const extraPlaces = 16

// admit takes a new connection in; nil when all connections have a handler at work.
func (g *gate) admit(c net.Conn) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := &conn{Conn: c, gate: g, extra: !g.hasPlaceLocked()}
	if held.extra {
		if g.extras >= extraPlaces && !g.evictLocked(true) {
			return nil
		}
		g.extras++
	}
	held.place = g.waiting.PushBack(held)
	g.open[held] = struct{}{}
	held.peer = g.peerLocked(c.RemoteAddr())
	held.peer.open++
	g.inside.Add(1)
	return held
}

// peerLocked is who has an address.
func (g *gate) peerLocked(of net.Addr) *peer {
	var address netip.Addr
	if tcp, ok := of.(*net.TCPAddr); ok {
		address = tcp.AddrPort().Addr().Unmap()
	}
	p := g.peers[address]
	if p == nil {
		p = &peer{address: address}
		g.peers[address] = p
	}
	return p
}

// settle gives a connection in one of the extra places one of the others, if there is any.
func (g *gate) settle(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.extra && g.hasPlaceLocked() {
		c.extra = false
		g.extras--
	}
	return !c.extra
}

func (g *gate) hasPlaceLocked() bool {
	return len(g.open)-g.extras < g.limit || g.evictLocked(false)
}

// evict closes a connection that waits, if any.
func (g *gate) evict() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.evictLocked(false) || g.evictLocked(true)
}

// evictLocked makes room among the extra places, or among the others.
func (g *gate) evictLocked(extra bool) bool {
	var first *conn
	for place := g.waiting.Front(); place != nil; place = place.Next() {
		if c := place.Value.(*conn); c.extra == extra && (first == nil || c.before(first)) {
			first = c
		}
	}
	if first != nil {
		g.closeLocked(first)
	}
	return first != nil
}

// closeLocked closes a connection that waits.
func (g *gate) closeLocked(c *conn) {
	g.waiting.Remove(c.place)
	c.place = nil
	g.forgetLocked(c)
	_ = c.Conn.Close() // never blocks: no linger is set
}

// busy marks that a handler works for c.
func (g *gate) busy(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place != nil {
		g.waiting.Remove(c.place)
		c.place = nil
	}
}

// turn lets all others go on first. Clients that send one request after the other, and read no answer, would
// else keep the processor for long.
func (g *gate) turn(c *conn) {
	g.idle(c, true)
	g.mu.Lock()
	c.hasty = c.hasty || c.asked
	c.asked = true
	g.restartLocked(c)
	g.mu.Unlock()
	runtime.Gosched()
}

// hear notes that c's client has sent n bytes.
func (g *gate) hear(c *conn, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.heard += n; c.heard >= bodyStep {
		g.restartLocked(c)
	}
}

// restartLocked lets the wait for c's client begin anew.
func (g *gate) restartLocked(c *conn) {
	c.heard = 0
	if c.place != nil {
		g.waiting.MoveToBack(c.place)
	}
}

// idle marks that c waits for its client to send, or to take an answer; what it waits for later
// keeps its place.
func (g *gate) idle(c *conn, writing bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.writing = writing
	c.asked = c.asked && writing
	if _, open := g.open[c]; !open || c.place != nil {
		return
	}
	if g.closing && !writing {
		_ = c.Conn.Close()
		return
	}
	c.place = g.waiting.PushBack(c)
}

// leave forgets c, which is closed.
func (g *gate) leave(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place != nil {
		g.waiting.Remove(c.place)
	}
	g.forgetLocked(c)
	g.inside.Done()
}

func (g *gate) forgetLocked(c *conn) {
	if _, open := g.open[c]; !open {
		return
	}
	delete(g.open, c)
	if c.extra {
		g.extras--
	}
	if c.peer.open--; c.peer.open == 0 {
		delete(g.peers, c.peer.address)
	}
}

// drain closes the connections that wait for a request at once and the rest after grace. It returns
// when all have ended; a handler that does not end is left behind after as long again.
func (g *gate) drain(grace time.Duration) {
	g.mu.Lock()
	g.closing = true
	for c := range g.open {
		if c.place != nil && !c.writing {
			g.closeLocked(c)
		}
	}
	g.mu.Unlock()
	late := time.AfterFunc(grace, g.closeAll)
	defer late.Stop()
	ended := make(chan struct{})
	go func() { g.inside.Wait(); close(ended) }()
	last := time.NewTimer(2 * grace)
	defer last.Stop()
	select {
	case <-ended:
	case <-last.C:
	}
}

func (g *gate) closeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		_ = c.Conn.Close()
	}
}
