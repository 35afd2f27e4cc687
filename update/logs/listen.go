package logs

import (
	"context"
	"sync"
)

// maxListener is the size of the buffer of one local listener, in bytes.
const maxListener = 64 << 10

// Listener receives the log in local mode (docs/spec/cloud.md 5.7, docs/spec/device-api.md 2.33).
type Listener struct {
	pipe    *Pipe
	inScope func(appID int) bool // the apps whose output it receives
	some    chan struct{}        // holds a token: there are new lines

	mu    sync.Mutex
	lines [][]byte
	size  int
}

// Listen returns a new listener. Its first line says that the log begins. It receives the messages of the agent, and the
// output of the apps for which inScope returns true. The caller must close it.
func (p *Pipe) Listen(inScope func(appID int) bool) *Listener {
	l := &Listener{pipe: p, inScope: inScope, some: make(chan struct{}, 1)}
	l.add([]byte(`{"message":"Streaming logs","isSystem":true}` + "\n"))
	p.mu.Lock()
	p.listeners[l] = true
	p.mu.Unlock()
	p.follower.checkMode()
	return l
}

// Close ends the listener.
func (l *Listener) Close() {
	l.pipe.mu.Lock()
	delete(l.pipe.listeners, l)
	l.pipe.mu.Unlock()
	l.pipe.follower.checkMode()
}

// add appends a line. Without room it drops the oldest lines.
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

// Next waits for the next encoded line and returns it with its line end.
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
