package logs

import (
	"context"
	"sync"
)

// maxListener is how many bytes of lines wait for one local listener.
const maxListener = 64 << 10

// Listener gets the lines of local mode (docs/spec/cloud.md 5.7, docs/spec/device-api.md 2.33).
type Listener struct {
	pipe    *Pipe
	inScope func(appID int) bool // whose containers' lines it gets
	some    chan struct{}        // holds a token: lines came

	mu    sync.Mutex
	lines [][]byte
	size  int
}

// Listen returns a new listener, whose first line says that it listens. It gets what the agent says, and the
// lines of the containers of the apps that inScope allows. It must be closed.
func (p *Pipe) Listen(inScope func(appID int) bool) *Listener {
	l := &Listener{pipe: p, inScope: inScope, some: make(chan struct{}, 1)}
	l.add([]byte(`{"message":"Streaming logs","isSystem":true}` + "\n"))
	p.mu.Lock()
	p.listeners[l] = true
	p.mu.Unlock()
	p.follower.review()
	return l
}

// Close ends the listener and frees what it holds.
func (l *Listener) Close() {
	l.pipe.mu.Lock()
	delete(l.pipe.listeners, l)
	l.pipe.mu.Unlock()
	l.pipe.follower.review()
}

// add appends a line; the oldest are dropped when there is no room.
func (l *Listener) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	l.size += len(line)
	for l.size > maxListener && len(l.lines) > 1 {
		l.size -= len(l.lines[0])
		l.lines = l.lines[1:]
	}
	signal(l.some)
}

// Next waits for the next encoded line, with its end.
func (l *Listener) Next(ctx context.Context) ([]byte, error) {
	for {
		l.mu.Lock()
		if len(l.lines) > 0 {
			line := l.lines[0]
			l.lines = l.lines[1:]
			l.size -= len(line)
			l.mu.Unlock()
			return line, nil
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.some:
		}
	}
}
