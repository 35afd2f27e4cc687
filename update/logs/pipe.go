// Package logs sends the device's log to the cloud or to local listeners (docs/spec/cloud.md section 5). The log is the
// output of the services and of some units of the host, and messages of the agent about its own work. Output is read only
// while somebody receives it.
//
// A line comes from the engine's stream of its container (follow.go). For the cloud it passes the queue (queue.go) and the
// compressor (deflate.go), and is sent (send.go). Then the position of its container is saved (position.go). For local
// listeners it goes into their buffers (listen.go).
package logs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

// Mode says where the log goes.
type Mode int

// The modes. With Nowhere, lines are dropped.
const (
	Nowhere Mode = iota
	ToCloud
	ToListeners // in local mode (docs/spec/cloud.md 8.4)
)

// ErrUnreadable is the error of Options.Read if the output of a container cannot be read, now or later.
var ErrUnreadable = errors.New("the engine's log driver keeps no output, use another one, such as journald or json-file")

// Output is one line of a container or of the host, or one piece of a long line.
type Output struct {
	Stderr bool
	At     time.Time // zero if it is not known
	Text   []byte    // without the line end; valid until the call returns
	Rest   bool      // continues the line of the piece before
	Cursor *string   // the position of a line of the host; nil for a container
}

// Options are the parameters of New.
type Options struct {
	Mode Mode // at the start; see SetMode
	// Read calls fn with each line of a container from since on, or with all lines if since is zero, until the container
	// stops. Lines that are a little older than since may come as well.
	Read func(ctx context.Context, id string, tty bool, since time.Time, fn func(Output)) error
	// ReadHost calls fn with each line of the host's units after the cursor, or from since on if the cursor is empty, until
	// no unit runs. Nil if there are no units.
	ReadHost func(ctx context.Context, cursor string, since time.Time, fn func(Output)) error
	// Identity says to which stream of the cloud lines go; empty while the device has none.
	Identity func() string
	// Open opens the stream of the current identity.
	Open func(ctx context.Context) (Stream, error)
	// Docs keeps the positions over a restart; see positions.
	Docs     Documents
	Volatile string // a file in memory, lost at a reboot, that keeps them too; empty: none
	Log      zerolog.Logger
}

// Stream is an open request to the cloud. The cloud answers only when something is wrong.
type Stream interface {
	Write(p []byte) (int, error)
	// Finish ends the body. Nothing may be written after it.
	Finish()
	Close() error
	// Ended is closed when the cloud has answered or the connection is broken. Err then returns the reason. It is nil if the
	// cloud ended the stream because of its age, as it does with every stream after some minutes.
	Ended() <-chan struct{}
	Err() error
}

// Pipe passes the device's log on. Its methods are safe for concurrent use. Those that take lines do not block.
type Pipe struct {
	o        Options
	queue    *queue
	follower *follower
	wake     chan struct{} // holds a token: the sender checks mode and identity again

	mu        sync.Mutex
	mode      Mode
	listeners map[*Listener]bool
}

// New returns a pipe that takes lines at once. Run sends them.
func New(o Options) *Pipe {
	p := &Pipe{
		o:         o,
		queue:     newQueue(),
		wake:      make(chan struct{}, 1),
		mode:      o.Mode,
		listeners: make(map[*Listener]bool),
	}
	p.follower = newFollower(o, p.wanted, p.line)
	return p
}

// Run reads containers and sends the log until ctx ends. Then it still sends what is in the queue, if the stream is open.
func (p *Pipe) Run(ctx context.Context) {
	p.follower.start(ctx)
	p.send(ctx)
	p.follower.stop()
}

// Say adds a message of the agent to the log (docs/spec/cloud.md 5.5).
func (p *Pipe) Say(text string, stderr bool) {
	p.Put(view.LogLine{Message: text, Timestamp: time.Now().UnixMilli(), IsSystem: true, IsStdErr: stderr})
}

// Put adds a line to the log that is not from a container.
func (p *Pipe) Put(l view.LogLine) { p.put(&l, mark{}, nil) }

// line adds a line of a container to the log; see queue.add for wait.
func (p *Pipe) line(wait context.Context, l *view.LogLine, m mark) (roomy bool) {
	return p.put(l, m, wait)
}

func (p *Pipe) put(l *view.LogLine, m mark, wait context.Context) (roomy bool) {
	p.mu.Lock()
	mode := p.mode
	if mode == ToListeners && len(p.listeners) > 0 {
		text := appendLine(nil, l, true)
		for listener := range p.listeners {
			if l.IsSystem || listener.inScope(l.AppID) {
				listener.add(text)
			}
		}
	}
	p.mu.Unlock()
	return mode != ToCloud || p.queue.add(l, m, wait)
}

// SetMode changes where lines go. When the log is switched off, lines in the queue are still sent: one of them says that it
// is switched off. When the device enters local mode, they are dropped.
func (p *Pipe) SetMode(m Mode) {
	p.mu.Lock()
	changed := p.mode != m
	p.mode = m
	p.mu.Unlock()
	if !changed {
		return
	}
	p.follower.checkMode()
	if m == ToListeners {
		p.queue.clear()
	}
	p.Check()
}

// Check makes the sender check the identity again.
func (p *Pipe) Check() { signal(p.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wanted says where the output of containers goes now.
func (p *Pipe) wanted() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == ToListeners && len(p.listeners) == 0 {
		return Nowhere
	}
	return p.mode
}

// Attach sets the list of supervised containers. Their output is read while somebody receives it (docs/spec/cloud.md 5.6).
func (p *Pipe) Attach(sources []view.LogSource) { p.follower.attach(sources) }

// AttachHost says that a unit of the host has started whose output belongs to the log.
func (p *Pipe) AttachHost() { p.follower.attachHost() }
