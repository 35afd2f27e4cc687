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

// limiter bounds the number of open connections. At the limit it evicts, that is closes, a connection that waits
// for its client: an idle one, or one whose client is slow to send a request or to take an answer. It never evicts
// a connection while a handler works for it. So neither idle nor slow clients can lock out a new one.
// When handlers work for all connections, a reserve of connections still serves the routes that need no key.
type limiter struct {
	mu       sync.Mutex
	limit    int
	closing  bool
	open     map[*conn]struct{}
	peers    map[netip.Addr]*peer
	reserved int            // open connections that use the reserve
	waiting  list.List      // of *conn, longest wait first; a request head, or progressBytes of a body, restarts a wait
	serving  sync.WaitGroup // one for each connection that is served
}

// peer counts the open connections of one address.
type peer struct {
	address netip.Addr
	open    int
}

// conn is a client's connection.
type conn struct {
	net.Conn
	limiter       *limiter
	peer          *peer
	waitEntry     *list.Element // in limiter.waiting, nil while a handler works
	received      int           // bytes since its wait began
	requested     bool          // a request came, and the server has not waited for another one since
	pipelining    bool          // a request came before the previous one was answered
	reserved      bool          // it uses the reserve
	writing       bool          // it waits for the client to take an answer
	streamTimeout time.Duration // of one write of an endless answer, 0 for any other answer
	head          head
}

// Write counts as waiting for the client, because the connection fills up when the client does not read. Between
// two writes the handler works. streamTimeout limits each write of an endless answer; the write deadline limits
// any other answer as a whole.
func (c *conn) Write(p []byte) (int, error) {
	if c.streamTimeout > 0 {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.streamTimeout)); err != nil {
			return 0, err
		}
	}
	c.limiter.markWaiting(c, true)
	n, err := c.Conn.Write(p)
	c.limiter.markBusy(c)
	return n, err
}

// SetWriteDeadline has no effect on an endless answer.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.streamTimeout > 0 {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// receive reads from the client, and counts as waiting for it.
func (c *conn) receive(p []byte) (int, error) {
	c.limiter.markWaiting(c, false)
	n, err := c.Conn.Read(p)
	c.limiter.addProgress(c, n)
	return n, err
}

// connOf is the connection that a request came on. It panics when that is not a *conn.
func connOf(ctx *fasthttp.RequestCtx) *conn { return ctx.Conn().(*conn) }

// evictedBefore tells whether c is evicted before other, which has waited longer. Clients that send requests without
// taking the answers are evicted first, then those whose address has the most connections.
func (c *conn) evictedBefore(other *conn) bool {
	if c.pipelining != other.pipelining {
		return c.pipelining
	}
	return c.peer.open > other.peer.open
}

func newLimiter(limit int) *limiter {
	return &limiter{limit: limit, open: map[*conn]struct{}{}, peers: map[netip.Addr]*peer{}}
}

// reserveSize is how many connections beyond the limit are kept for the routes that need no key.
const reserveSize = 16

// admit adds a new connection; nil when handlers work for all connections, those of the reserve included.
func (l *limiter) admit(nc net.Conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &conn{Conn: nc, limiter: l, reserved: !l.makeRoomLocked()}
	if c.reserved {
		if l.reserved >= reserveSize && !l.evictLocked(true) {
			return nil
		}
		l.reserved++
	}
	c.waitEntry = l.waiting.PushBack(c)
	l.open[c] = struct{}{}
	c.peer = l.peerLocked(nc.RemoteAddr())
	c.peer.open++
	l.serving.Add(1)
	return c
}

func (l *limiter) peerLocked(addr net.Addr) *peer {
	var address netip.Addr
	if tcp, ok := addr.(*net.TCPAddr); ok {
		address = tcp.AddrPort().Addr().Unmap()
	}
	p := l.peers[address]
	if p == nil {
		p = &peer{address: address}
		l.peers[address] = p
	}
	return p
}

// leaveReserve counts c within the limit, if there is room, and tells whether it is outside the reserve now.
func (l *limiter) leaveReserve(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.reserved && l.makeRoomLocked() {
		c.reserved = false
		l.reserved--
	}
	return !c.reserved
}

// makeRoomLocked makes room for one connection within the limit, and tells whether there is any.
func (l *limiter) makeRoomLocked() bool {
	return len(l.open)-l.reserved < l.limit || l.evictLocked(false)
}

// evict closes a connection that waits, if there is one.
func (l *limiter) evict() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.evictLocked(false) || l.evictLocked(true)
}

// evictLocked closes a connection that waits, inside or outside the reserve, and tells whether there was one.
func (l *limiter) evictLocked(reserved bool) bool {
	var first *conn
	for entry := l.waiting.Front(); entry != nil; entry = entry.Next() {
		if c := entry.Value.(*conn); c.reserved == reserved && (first == nil || c.evictedBefore(first)) {
			first = c
		}
	}
	if first != nil {
		l.closeLocked(first)
	}
	return first != nil
}

// closeLocked closes a connection that waits.
func (l *limiter) closeLocked(c *conn) {
	l.waiting.Remove(c.waitEntry)
	c.waitEntry = nil
	l.removeLocked(c)
	_ = c.Conn.Close() // never blocks: no linger is set
}

// markBusy marks that a handler works for c.
func (l *limiter) markBusy(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.waitEntry != nil {
		l.waiting.Remove(c.waitEntry)
		c.waitEntry = nil
	}
}

// yield lets the other connections run before the next request of c. Without it a client that sends one request
// after the other, and reads no answer, would keep the processor for long.
func (l *limiter) yield(c *conn) {
	l.markWaiting(c, true)
	l.mu.Lock()
	c.pipelining = c.pipelining || c.requested
	c.requested = true
	l.restartWaitLocked(c)
	l.mu.Unlock()
	runtime.Gosched()
}

// addProgress records that c's client has sent n bytes.
func (l *limiter) addProgress(c *conn, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.received += n; c.received >= progressBytes {
		l.restartWaitLocked(c)
	}
}

// restartWaitLocked makes c the connection with the shortest wait.
func (l *limiter) restartWaitLocked(c *conn) {
	c.received = 0
	if c.waitEntry != nil {
		l.waiting.MoveToBack(c.waitEntry)
	}
}

// markWaiting marks that c waits for its client to send, or to take an answer. A connection that waits already
// keeps its place in the queue.
func (l *limiter) markWaiting(c *conn, writing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.writing = writing
	c.requested = c.requested && writing
	if _, open := l.open[c]; !open || c.waitEntry != nil {
		return
	}
	if l.closing && !writing {
		_ = c.Conn.Close()
		return
	}
	c.waitEntry = l.waiting.PushBack(c)
}

// remove forgets c, which is closed and not served any more.
func (l *limiter) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.waitEntry != nil {
		l.waiting.Remove(c.waitEntry)
	}
	l.removeLocked(c)
	l.serving.Done()
}

func (l *limiter) removeLocked(c *conn) {
	if _, open := l.open[c]; !open {
		return
	}
	delete(l.open, c)
	if c.reserved {
		l.reserved--
	}
	if c.peer.open--; c.peer.open == 0 {
		delete(l.peers, c.peer.address)
	}
}

// drain closes the connections that wait for a request at once, and the others after grace. It returns when all
// have ended, but after twice the grace at the latest: it leaves behind a handler that runs longer.
func (l *limiter) drain(grace time.Duration) {
	l.mu.Lock()
	l.closing = true
	for c := range l.open {
		if c.waitEntry != nil && !c.writing {
			l.closeLocked(c)
		}
	}
	l.mu.Unlock()
	closer := time.AfterFunc(grace, l.closeAll)
	defer closer.Stop()
	ended := make(chan struct{})
	go func() { l.serving.Wait(); close(ended) }()
	deadline := time.NewTimer(2 * grace)
	defer deadline.Stop()
	select {
	case <-ended:
	case <-deadline.C:
	}
}

func (l *limiter) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Conn.Close()
	}
}
