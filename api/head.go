package api

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Sizes of request heads, in bytes. Most heads are short. Some are long, because a browser sends the cookies of all
// ports of a host to each port.
const (
	shortHead = 4 << 10
	maxHead   = 16 << 10
	// maxLongHeads is how many long heads are read or answered at once. The next one is refused.
	maxLongHeads = 64
)

// connServer serves connections, one request after the other. It waits for the head of a request itself, and hands
// the connection to a fasthttp server of a fitting size class for one request and its answer. If fasthttp waited,
// each idle connection would keep a buffer, and each buffer would have the size of the longest head.
type connServer struct {
	limits      *limits
	short, long sizeClass
	longHeads   chan struct{} // one entry for each long head
}

// sizeClass serves request heads up to one size.
type sizeClass struct {
	server  *fasthttp.Server
	buffers sync.Pool // of *[]byte, for heads that are being read
}

func (s *Server) newConnServer() *connServer {
	cs := &connServer{limits: &s.limits, longHeads: make(chan struct{}, maxLongHeads)}
	cs.short.server, cs.short.buffers.New = s.newHTTPServer(shortHead), func() any { b := make([]byte, shortHead); return &b }
	cs.long.server, cs.long.buffers.New = s.newHTTPServer(maxHead), func() any { b := make([]byte, maxHead); return &b }
	return cs
}

// serve answers the requests of c until the client or the server ends the connection.
func (cs *connServer) serve(c *conn) {
	defer c.Conn.Close()
	h := &c.head
	for timeout := cs.limits.head; cs.readHead(c, timeout); timeout = cs.limits.idle {
		h.keepOpen, h.answered = false, false
		_ = h.class.server.ServeConn(c) // it does not matter to us how a client ends its connection
		if h.class == &cs.long {
			<-cs.longHeads
		}
		if !h.keepOpen {
			return
		}
	}
}

// readHead waits at most timeout for a request to begin, and then for its head. It tells whether there is anything
// to answer: a truncated head gets an answer, too.
func (cs *connServer) readHead(c *conn, timeout time.Duration) bool {
	h := &c.head
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	if n, _ := c.receive(h.first[:]); n == 0 {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(cs.limits.head))
	h.setClass(&cs.short, h.first[:])
	if h.read(c) {
		return true
	}
	select {
	case cs.longHeads <- struct{}{}:
		h.setClass(&cs.long, h.unread)
		h.read(c)
	default:
		h.refused = true // fasthttp finds that it is too large
	}
	return true
}

// head is the head of a request, from its first byte until fasthttp has read it.
type head struct {
	class    *sizeClass
	first    [1]byte
	unread   []byte  // received, and not yet read by fasthttp
	buffer   *[]byte // the memory of unread
	err      error   // the error that ended the reading
	answered bool    // a request was answered, and no other one has begun
	keepOpen bool    // the client may send another request
	refused  bool    // it is long, and too many long heads came at once
}

// setClass moves what was received of the head into a buffer of the size class.
func (h *head) setClass(class *sizeClass, received []byte) {
	buffer := class.buffers.Get().(*[]byte)
	n := copy(*buffer, received)
	h.freeBuffer()
	h.class, h.buffer, h.unread = class, buffer, (*buffer)[:n]
}

func (h *head) freeBuffer() {
	if h.buffer != nil {
		h.class.buffers.Put(h.buffer)
		h.buffer = nil
	}
}

// read reads the rest of the head, and tells whether the head fits into the buffer. It stops early at a truncated
// head, and at bytes that cannot begin one.
func (h *head) read(from *conn) (fits bool) {
	for isWord(h.unread[0]) && h.err == nil {
		seen := len(h.unread)
		if seen == cap(h.unread) {
			return false
		}
		var n int
		n, h.err = from.receive(h.unread[seen:cap(h.unread)])
		h.unread = h.unread[:seen+n]
		// An empty line ends a head.
		if b := h.unread[max(0, seen-2):]; bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n")) {
			break
		}
	}
	return true
}

// Read is called by fasthttp. It returns the head that was received first, and the end of the connection after the
// answer.
func (c *conn) Read(p []byte) (int, error) {
	h := &c.head
	switch {
	case len(h.unread) > 0:
		n := copy(p, h.unread)
		if h.unread = h.unread[n:]; len(h.unread) == 0 {
			h.freeBuffer()
		}
		return n, nil
	case h.err != nil:
		return 0, h.err
	case h.answered:
		h.keepOpen = true
		return 0, io.EOF
	}
	return c.receive(p)
}

// Close is called by fasthttp. It does nothing, because connServer closes the connection.
func (*conn) Close() error { return nil }

// trackState records whether fasthttp has answered a request of the connection.
func trackState(c net.Conn, state fasthttp.ConnState) {
	c.(*conn).head.answered = state == fasthttp.StateIdle
}
