package observe

import (
	"sync"
	"time"
)

// liveness knows whether the event stream of the engine still tells what happens. A stalled stream cannot be told
// from an idle engine: a unix socket has no keep-alive, and the engine sends nothing by itself. So the agent uses its
// own work as a test: the engine must send an event for each change of a container that the agent makes. No timer
// runs while nothing is done.
type liveness struct {
	mu      sync.Mutex
	cut     func()                 // ends the present stream, nil while there is none
	count   uint64                 // grows with every event and stream
	opened  uint64                 // count when the present stream began
	changes int                    // changes of the agent that are under way
	heard   map[string]uint64      // last event of each container, kept while changes are under way
	awaited map[string]*time.Timer // containers of which an event must still come
}

// eventTimeout is how late an event may come. Milliseconds are usual.
const eventTimeout = 5 * time.Second

func newLiveness() *liveness {
	return &liveness{heard: make(map[string]uint64), awaited: make(map[string]*time.Timer)}
}

// open notes a new stream, which cut ends.
func (l *liveness) open(cut func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	l.opened, l.cut = l.count, cut
}

// close notes the end of the stream. No event of it is awaited any more.
func (l *liveness) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = nil
	for _, timer := range l.awaited {
		timer.Stop()
	}
	clear(l.awaited)
}

// hear notes an event of a container.
func (l *liveness) hear(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if l.changes > 0 {
		l.heard[id] = l.count
	}
	if timer := l.awaited[id]; timer != nil {
		timer.Stop()
		delete(l.awaited, id)
	}
}

// begin notes that a change is about to be made. end takes what begin returns.
func (l *liveness) begin() (since uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	return l.count
}

// end notes that a change is over. With expectEvent, an event of the container must have come since the change began,
// or must come soon.
func (l *liveness) end(since uint64, id string, expectEvent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.heard[id]
	if l.changes--; l.changes == 0 {
		clear(l.heard)
	}
	if !expectEvent || last > since || l.cut == nil || since < l.opened || l.awaited[id] != nil {
		return
	}
	l.awaited[id] = time.AfterFunc(eventTimeout, func() { l.miss(id) })
}

// miss ends a stream in which no event of a container came.
func (l *liveness) miss(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.awaited[id] != nil {
		l.silent()
	}
}

// doubt ends the stream, because a change was found in another way that an event should have told.
func (l *liveness) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent()
}

func (l *liveness) silent() {
	if l.cut != nil {
		l.cut()
	}
}
