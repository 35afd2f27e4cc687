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
	// maxLongHeads is how many long ones are read or answered at once. One more is refused as too large.
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
	heads  *sync.Pool // of *[]byte, for heads that are being read
}

func (s *Server) front() *front {
	of := func(n int) size {
		return size{s.http(n), &sync.Pool{New: func() any { b := make([]byte, n); return &b }}}
	}
	return &front{&s.limits, of(shortHead), of(maxHead), make(chan struct{}, maxLongHeads)}
}

// serve answers the requests of c until one of both ends it.
func (f *front) serve(c *conn) {
	x := &exchange{conn: c}
	defer c.Conn.Close()
	for patience := f.limits.head; f.take(x, patience); patience = f.limits.idle {
		x.more, x.answered = false, false
		_ = x.size.server.ServeConn(x) // how a client's connection ended is the client's business
		if x.size == f.long {
			<-f.places
		}
		if !x.more {
			return
		}
	}
}

// take waits with patience for a request to begin, and then for its head. It tells whether there is anything
// to answer: a head that broke off gets an answer, too.
func (f *front) take(x *exchange, patience time.Duration) bool {
	_ = x.SetReadDeadline(time.Now().Add(patience))
	if n, _ := x.conn.Read(x.first[:]); n == 0 {
		return false
	}
	_ = x.SetReadDeadline(time.Now().Add(f.limits.head))
	x.use(f.short, x.first[:])
	if x.read() {
		return true
	}
	select {
	case f.places <- struct{}{}:
		x.use(f.long, x.head)
		x.read()
	default: // fasthttp finds that it is too large
	}
	return true
}

// exchange is a connection while fasthttp answers a request on it: what was read of the head comes first, and
// after the answer it seems to end.
type exchange struct {
	*conn
	size     size
	first    [1]byte
	head     []byte  // read, and not yet handed on
	buffer   *[]byte // what head lies in
	err      error   // that ended the reading of the head
	answered bool    // a request was answered, and no other one has begun
	more     bool    // the client may send another request
}

// use makes room for a head of a size that begins with what was read of it.
func (x *exchange) use(s size, begun []byte) {
	buffer := s.heads.Get().(*[]byte)
	n := copy(*buffer, begun)
	x.drop()
	x.size, x.buffer, x.head = s, buffer, (*buffer)[:n]
}

// drop gives back the buffer of the head.
func (x *exchange) drop() {
	if x.buffer != nil {
		x.size.heads.Put(x.buffer)
		x.buffer = nil
	}
}

// read reads more of the head, and tells whether its end fits into the buffer. What cannot be a head, or broke
// off, is not waited for.
func (x *exchange) read() (fits bool) {
	for isWord(x.head[0]) && x.err == nil {
		seen := len(x.head)
		if seen == cap(x.head) {
			return false
		}
		var n int
		n, x.err = x.conn.Read(x.head[seen:cap(x.head)])
		x.head = x.head[:seen+n]
		if endsHead(x.head[max(0, seen-2):]) {
			break
		}
	}
	return true
}

// endsHead tells whether b has an empty line.
func endsHead(b []byte) bool {
	return bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n"))
}

func (x *exchange) Read(p []byte) (int, error) {
	switch {
	case len(x.head) > 0:
		n := copy(p, x.head)
		if x.head = x.head[n:]; len(x.head) == 0 {
			x.drop()
		}
		return n, nil
	case x.err != nil:
		return 0, x.err
	case x.answered:
		x.more = true
		return 0, io.EOF
	}
	return x.conn.Read(p)
}

// Close leaves the connection to front.
func (*exchange) Close() error { return nil }

// follow notes what fasthttp is at with an exchange.
func follow(c net.Conn, state fasthttp.ConnState) {
	c.(*exchange).answered = state == fasthttp.StateIdle
}
