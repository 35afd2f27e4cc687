package engine

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tap is a socket in front of the engine's that keeps what clients send and can break their
// connections.
type tap struct {
	socket   string
	upstream string

	mu   sync.Mutex
	sent strings.Builder
	open map[net.Conn]struct{}
}

func newTap(t *testing.T, upstream string) *tap {
	t.Helper()
	p := &tap{socket: filepath.Join(t.TempDir(), "tap"), upstream: upstream, open: map[net.Conn]struct{}{}}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); p.cut() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

func (p *tap) serve(client net.Conn) {
	defer client.Close()
	engine, err := net.Dial("unix", p.upstream)
	if err != nil {
		return
	}
	defer engine.Close()
	p.mu.Lock()
	p.open[client] = struct{}{}
	p.mu.Unlock()
	go func() {
		io.Copy(io.MultiWriter(p, engine), client)
		engine.Close()
	}()
	io.Copy(client, engine)
	p.mu.Lock()
	delete(p.open, client)
	p.mu.Unlock()
}

// Write keeps what a client sends.
func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent.Write(b)
}

// requests are the heads of the requests so far.
func (p *tap) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Split(p.sent.String(), "\r\n\r\n")
}

// count is how many requests so far began with the text.
func (p *tap) count(prefix string) (n int) {
	for _, r := range p.requests() {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// cut breaks all connections.
func (p *tap) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}
