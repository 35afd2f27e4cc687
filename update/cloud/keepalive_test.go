package cloud

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// peer is a server that handles the requests of each connection as the test says.
type peer struct {
	*Client
	t        *testing.T
	accepted chan struct{}
	requests chan string
}

// What a peer does to a request.
const (
	answers      = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	answersLast  = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
	answersOld   = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	answersTwice = answers + "more"
	begins       = "HTTP/1.1 2"
	hangsUp      = ""
)

// newPeer serves connections. what[i] lists the actions on the i-th connection, which is then closed.
func newPeer(t *testing.T, what ...[]string) *peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, accepted: make(chan struct{}, 10), requests: make(chan string, 10)}
	closed := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-closed })
	go func() {
		defer close(closed)
		for _, actions := range what {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.accepted <- struct{}{}
			p.serve(conn, actions)
		}
	}()
	keep := &KeepAlive{}
	t.Cleanup(keep.Close)
	if p.Client, err = New("http://"+l.Addr().String(), "x", nil, keep); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) serve(conn net.Conn, actions []string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, action := range actions {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		p.requests <- r.Method + " " + r.URL.Path
		fmt.Fprint(conn, action)
	}
}

// calls makes calls one after the other and returns the first error.
func (p *peer) calls(n int, method string) (err error) {
	for i := 0; i < n && err == nil; i++ {
		_, err = p.do(context.Background(), call{method: method, path: fmt.Sprint("/", i), timeout: 20 * time.Second, perStep: i%2 == 0})
		if err == nil {
			p.settle()
		}
	}
	return err
}

// settle waits until the client sees that the server closed the connection, or a short time.
func (p *peer) settle() {
	k := p.keepAlive
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		k.mu.Lock()
		conn := k.conn
		k.mu.Unlock()
		if conn == nil || !isIdle(conn) {
			return
		}
	}
}

// Successive calls use one connection as long as the server keeps it open.
func TestOneConnectionForABurst(t *testing.T) {
	f := func(name string, calls, connections int, what ...[]string) {
		t.Helper()
		p := newPeer(t, what...)
		if err := p.calls(calls, "PATCH"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(p.accepted); n != connections {
			t.Errorf("%s: %d connections, want %d", name, n, connections)
		}
		if n := len(p.requests); n != calls {
			t.Errorf("%s: %d requests, want %d", name, n, calls)
		}
	}
	f("a burst", 4, 1, []string{answers, answers, answers, answers, answers})
	f("closed in between", 2, 2, []string{answers}, []string{answers, answers})
	f("said to be the last", 2, 2, []string{answersLast}, []string{answers, answers})
	f("HTTP/1.0", 2, 2, []string{answersOld}, []string{answers, answers})
	f("more than an answer", 2, 2, []string{answersTwice}, []string{answers, answers})
}

// A call is repeated on a new connection only if the old one was closed without a byte of an answer.
func TestCallIsMadeAgain(t *testing.T) {
	f := func(name string, calls, requests int, ok bool, what ...[]string) {
		t.Helper()
		p := newPeer(t, what...)
		if err := p.calls(calls, "PATCH"); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(p.requests); n != requests {
			t.Errorf("%s: %d requests, want %d", name, n, requests)
		}
	}
	f("closed while it was asked", 2, 3, true, []string{answers, hangsUp}, []string{answers, answers})
	f("closed and closed again", 2, 3, false, []string{answers, hangsUp}, []string{hangsUp}, []string{answers})
	f("a new connection", 1, 1, false, []string{hangsUp}, []string{answers})
	f("an answer began", 2, 2, false, []string{answers, begins}, []string{answers})
}

// Close and the next connection close the kept connection. A nil KeepAlive keeps none.
func TestConnectionIsClosed(t *testing.T) {
	pair := func() (near, far net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close(); far.Close() })
		return near, far
	}
	closed := func(far net.Conn) bool {
		_, err := far.Read(make([]byte, 1))
		return err != nil
	}
	k := &KeepAlive{}
	a, farA := pair()
	b, farB := pair()
	k.keep("a", a)
	if k.take("b") != nil {
		t.Error("take returned a connection to another server")
	}
	if k.keep("b", b); !closed(farA) {
		t.Error("the replaced connection is still open")
	}
	if k.take("b") != b || k.take("b") != nil {
		t.Error("take did not return the connection exactly once")
	}
	k.keep("b", b)
	if k.Close(); !closed(farB) || k.take("b") != nil {
		t.Error("the connection is still open after Close")
	}
	c, farC := pair()
	if (*KeepAlive)(nil).keep("c", c); !closed(farC) {
		t.Error("a nil KeepAlive keeps a connection")
	}
}
