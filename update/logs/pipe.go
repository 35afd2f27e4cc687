// Package logs carries the device's log, what services write and what the agent says of its own work,
// to the cloud or to local listeners (docs/spec/cloud.md section 5). It reads the output of containers
// through the engine and that of some units of the host, and only while somebody takes it.
//
// A line passes from the engine's stream of its container (follow.go) through the queue (queue.go)
// and the compressor to the cloud (send.go), which then knows how far each container has been
// delivered (place.go); or to the buffers of listeners (listen.go).
package logs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

// Mode says where lines go.
type Mode int

// The modes. Lines that go nowhere are dropped.
const (
	Nowhere Mode = iota
	ToCloud
	ToListeners // in local mode (docs/spec/cloud.md 8.4)
)

// ErrUnreadable is what reading a container tells when its output cannot be read, now or later.
var ErrUnreadable = errors.New("the engine keeps nothing of what its log driver took")

// Output is one line that a container wrote, or one piece of a line that is too long.
type Output struct {
	Stderr bool
	At     time.Time // zero when it is not known
	Text   []byte    // without the end of the line; valid until the call returns
	Rest   bool      // goes on with the line of the piece before
	Cursor *string   // of a line of the host: its place
}

// Options is what a Pipe is built from.
type Options struct {
	Mode Mode // at the start; see SetMode
	// Read hands out a container's output from since on, or all there is when since is zero, and what
	// is written later, until the container stops. Lines a little older than since may come as well.
	Read func(ctx context.Context, id string, tty bool, since time.Time, fn func(Output)) error
	// ReadHost hands out what units of the host wrote behind the cursor, or since a time when that is empty,
	// and what they write later, until none runs. Nil when there are none.
	ReadHost func(ctx context.Context, cursor string, since time.Time, fn func(Output)) error
	// Identity tells which stream of the cloud lines go to; empty while the device has none.
	Identity func() string
	// Open opens the stream of the present identity.
	Open func(ctx context.Context) (Stream, error)
	// Docs keeps the places over a restart, see places.
	Docs     Documents
	Volatile string // a file in memory, gone after a reboot, for the same; empty for none
	Log      zerolog.Logger
}

// Stream is an open request to the cloud, which is answered only when something is wrong.
type Stream interface {
	Write(p []byte) (int, error)
	// Finish ends the body. Nothing may be written after it.
	Finish()
	Close() error
	// Ended is closed when the cloud answered or the connection broke off, for the reason that Err tells then.
	// It is nil when the cloud ended the stream as it does with every one after some minutes.
	Ended() <-chan struct{}
	Err() error
}

// Pipe is the way of the device's log. Its methods are safe for concurrent use; none of those that
// take lines waits.
type Pipe struct {
	o        Options
	queue    *queue
	follower *follower
	wake     chan struct{} // holds a token: the sender has to look at mode and identity again

	mu        sync.Mutex
	mode      Mode
	listeners map[*Listener]bool
}

// New returns a pipe that takes lines at once. Run moves them.
func New(o Options) *Pipe {
	p := &Pipe{o: o, queue: newQueue(), wake: make(chan struct{}, 1), mode: o.Mode, listeners: make(map[*Listener]bool)}
	p.follower = newFollower(o, p.wanted, p.line)
	return p
}

// Run reads containers and sends their lines until ctx ends; what is in the queue then and can be
// sent at once still is.
func (p *Pipe) Run(ctx context.Context) {
	p.follower.start(ctx)
	p.send(ctx)
	p.follower.stop()
}

// Say puts a message of the agent into the log (docs/spec/cloud.md 5.5).
func (p *Pipe) Say(text string, stderr bool) {
	p.Put(view.LogLine{Message: text, Timestamp: time.Now().UnixMilli(), IsSystem: true, IsStdErr: stderr})
}

// Put puts a line into the log that is not a container's.
func (p *Pipe) Put(l view.LogLine) { p.put(&l, mark{}, nil) }

// line puts a container's line into the log; with patience it waits for room in the queue.
func (p *Pipe) line(patience context.Context, l *view.LogLine, m mark) (roomy bool) {
	return p.put(l, m, patience)
}

func (p *Pipe) put(l *view.LogLine, m mark, patience context.Context) (roomy bool) {
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
	return mode != ToCloud || p.queue.add(l, m, patience)
}

// SetMode changes where lines go. What waits for the cloud is still sent when the log is switched off, so that the
// cloud is told of that change too; in local mode it is dropped.
func (p *Pipe) SetMode(m Mode) {
	p.mu.Lock()
	changed := p.mode != m
	p.mode = m
	p.mu.Unlock()
	if !changed {
		return
	}
	p.follower.review()
	if m == ToListeners {
		p.queue.clear()
	}
	p.Check()
}

// Check has the sender look at the identity again.
func (p *Pipe) Check() { signal(p.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wanted tells who takes the lines of containers now.
func (p *Pipe) wanted() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == ToListeners && len(p.listeners) == 0 {
		return Nowhere
	}
	return p.mode
}

// Attach tells which supervised containers there are. Their lines are read as long as somebody takes
// them (docs/spec/cloud.md 5.6).
func (p *Pipe) Attach(sources []view.LogSource) { p.follower.attach(sources) }

// AttachHost tells that a unit of the host started whose lines belong to the log.
func (p *Pipe) AttachHost() { p.follower.attachHost() }
