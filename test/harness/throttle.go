package harness

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Throttle is a slow, breakable network in front of a TCP server. What the server sends passes at
// the set rate and is counted; what clients send passes at once.
type Throttle struct {
	Addr string // where clients connect

	upstream string
	listener net.Listener
	bytes    atomic.Int64 // passed to clients
	total    atomic.Int64 // connections accepted so far

	mu      sync.Mutex
	rate    int64     // bytes a second over all connections, 0 means no limit
	free    time.Time // when the line will have passed what is booked
	stalled chan struct{}
	refuse  bool
	open    map[net.Conn]struct{}
}

// NewThrottle puts a slow network in front of a server; rate is in bytes a second, 0 is no limit.
func NewThrottle(t testing.TB, upstream string, rate int64) *Throttle {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &Throttle{Addr: l.Addr().String(), upstream: upstream, listener: l, rate: rate, open: map[net.Conn]struct{}{}}
	go n.accept()
	t.Cleanup(func() { l.Close(); n.Resume(); n.Cut() })
	return n
}

// Slow is the registry behind a network of so many bytes a second; Of turns references of the
// registry into references through this network.
func (r *Registry) Slow(t testing.TB, rate int64) *Throttle {
	t.Helper()
	return NewThrottle(t, r.Addr, rate)
}

// Of is the image as it is named when pulled through this network.
func (n *Throttle) Of(i Image) Image {
	i.Name = strings.Replace(i.Name, n.upstream, n.Addr, 1)
	return i
}

// Bytes is how much has been passed to clients.
func (n *Throttle) Bytes() int64 { return n.bytes.Load() }

// Accepted is how many connections were ever accepted.
func (n *Throttle) Accepted() int64 { return n.total.Load() }

// Open is how many connections are open now.
func (n *Throttle) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open)
}

// SetRate changes the rate for everything sent from now on.
func (n *Throttle) SetRate(bytesPerSecond int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate = bytesPerSecond
}

// Stall holds all bytes back until Resume; connections stay open.
func (n *Throttle) Stall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stalled == nil {
		n.stalled = make(chan struct{})
	}
}

// Resume ends a stall.
func (n *Throttle) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stalled != nil {
		close(n.stalled)
		n.stalled = nil
	}
}

// Cut breaks every open connection.
func (n *Throttle) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.open {
		c.Close()
	}
}

// Refuse makes new connections fail, or lets them in again.
func (n *Throttle) Refuse(refuse bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = refuse
}

func (n *Throttle) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.total.Add(1)
		go n.serve(client)
	}
}

func (n *Throttle) serve(client net.Conn) {
	defer client.Close()
	if !n.track(client) {
		return
	}
	defer n.forget(client)
	server, err := net.Dial("tcp", n.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	// A small send buffer keeps the count close to what the client has really taken.
	client.(*net.TCPConn).SetWriteBuffer(16 << 10)
	go func() {
		io.Copy(server, client)
		server.Close()
	}()
	n.pass(client, server)
}

func (n *Throttle) track(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse {
		return false
	}
	n.open[c] = struct{}{}
	return true
}

func (n *Throttle) forget(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// pass copies from the server to the client at the current rate.
func (n *Throttle) pass(client, server net.Conn) {
	buf := make([]byte, 8<<10)
	for {
		count, err := server.Read(buf)
		if count > 0 {
			n.wait(count)
			if _, err := client.Write(buf[:count]); err != nil {
				return
			}
			n.bytes.Add(int64(count))
		}
		if err != nil {
			return
		}
	}
}

// wait takes as long as the bytes would on a line of the current rate that all connections share.
func (n *Throttle) wait(count int) {
	n.mu.Lock()
	stalled := n.stalled
	n.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	time.Sleep(time.Until(n.reserve(count)))
}

// reserve books the line for some bytes and answers when they will have passed.
func (n *Throttle) reserve(count int) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.free.Before(now) {
		n.free = now
	}
	if n.rate > 0 {
		n.free = n.free.Add(time.Duration(count) * time.Second / time.Duration(n.rate))
	}
	return n.free
}
