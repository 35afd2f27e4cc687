package api

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Sizes of the heads of requests, in bytes. A browser sends the cookies of all ports of a host to each of them,
// so that heads are long at times; most are short.
const (
	shortHead = 4 << 10
	maxHead   = 16 << 10
	// maxLongHeads is how many long ones are read or answered at once. One more is refused.
	maxLongHeads = 64
)

// front serves connections, one request after the other. fasthttp keeps the buffer of a connection while that
// is idle or begins to send a head, and all of its buffers have the size of the longest head. So it gets a
// connection when the head of a request is there, with buffers of a fitting size, and gives it back after the
// answer.
type front struct {
	limits      *limits
	short, long size
	places      chan struct{} // one entry for each long head
}

// size is what serves heads of up to so many bytes.
type size struct {
	server *fasthttp.Server
	heads  sync.Pool // of *[]byte, for heads that are being read
}

func (s *Server) front() *front {
	f := &front{limits: &s.limits, places: make(chan struct{}, maxLongHeads)}
	f.short.server, f.short.heads.New = s.http(shortHead), func() any { b := make([]byte, shortHead); return &b }
	f.long.server, f.long.heads.New = s.http(maxHead), func() any { b := make([]byte, maxHead); return &b }
	return f
}

// serve answers the requests of c until one of both ends it.
func (f *front) serve(c *conn) {
	defer c.Conn.Close()
	h := &c.head
	for patience := f.limits.head; f.take(c, patience); patience = f.limits.idle {
		h.more, h.answered = false, false
		_ = h.size.server.ServeConn(c) // how a client's connection ended is the client's business
		if h.size == &f.long {
			<-f.places
		}
		if !h.more {
			return
		}
	}
}

// take waits with patience for a request to begin, and then for its head. It tells whether there is anything
// to answer: a head that broke off gets an answer, too.
func (f *front) take(c *conn, patience time.Duration) bool {
	h := &c.head
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, _ := c.receive(h.first[:]); n == 0 {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(f.limits.head))
	h.use(&f.short, h.first[:])
	if h.read(c) {
		return true
	}
	select {
	case f.places <- struct{}{}:
		h.use(&f.long, h.text)
		h.read(c)
	default:
		h.refused = true // fasthttp finds that it is too large
	}
	return true
}

// head is the head of a request, from its first byte until fasthttp has it.
type head struct {
	size     *size
	first    [1]byte
	text     []byte  // read, and not yet handed on
	buffer   *[]byte // what text lies in
	err      error   // that ended the reading
	answered bool    // a request was answered, and no other one has begun
	more     bool    // the client may send another request
	refused  bool    // it is long, and no place was free
}

// use makes room for a head of a size that begins with what was read of it.
func (h *head) use(s *size, begun []byte) {
	buffer := s.heads.Get().(*[]byte)
	n := copy(*buffer, begun)
	h.drop()
	h.size, h.buffer, h.text = s, buffer, (*buffer)[:n]
}

// drop gives back the buffer.
func (h *head) drop() {
	if h.buffer != nil {
		h.size.heads.Put(h.buffer)
		h.buffer = nil
	}
}

// read reads more of the head, and tells whether its end fits into the buffer. What cannot be a head, or broke
// off, is not waited for.
func (h *head) read(from *conn) (fits bool) {
	for isWord(h.text[0]) && h.err == nil {
		seen := len(h.text)
		if seen == cap(h.text) {
			return false
		}
		var n int
		n, h.err = from.receive(h.text[seen:cap(h.text)])
		h.text = h.text[:seen+n]
		// An empty line ends a head.
		if b := h.text[max(0, seen-2):]; bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n")) {
			break
		}
	}
	return true
}

// Read is for fasthttp: what was read of the head comes first, and after the answer the connection seems to end.
func (c *conn) Read(p []byte) (int, error) {
	h := &c.head
	switch {
	case len(h.text) > 0:
		n := copy(p, h.text)
		if h.text = h.text[n:]; len(h.text) == 0 {
			h.drop()
		}
		return n, nil
	case h.err != nil:
		return 0, h.err
	case h.answered:
		h.more = true
		return 0, io.EOF
	}
	return c.receive(p)
}

// Close is for fasthttp, which leaves the connection to front.
func (*conn) Close() error { return nil }

// follow notes what fasthttp is at with a connection.
func follow(c net.Conn, state fasthttp.ConnState) {
	c.(*conn).head.answered = state == fasthttp.StateIdle
}
