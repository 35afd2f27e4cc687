package update

import (
	"sync"
	"time"
)

// pulse knows whether the engine's event stream still tells what happens. A stream that fell silent
// without an end looks like an engine on which nothing happens: a unix socket has no keep-alive, and
// the engine sends nothing by itself. So the agent's own work is the proof: the engine must tell of
// each change of a container that the agent makes. While nothing is done no timer runs.
type pulse struct {
	mu      sync.Mutex
	cut     func()                 // ends the present stream, nil while there is none
	count   uint64                 // grows with every event and stream
	opened  uint64                 // count when the present stream began
	changes int                    // of the agent, under way
	heard   map[string]uint64      // last event of each container, kept while changes are under way
	awaited map[string]*time.Timer // containers of which the engine has yet to tell
}

// pulsePatience is how late an event may come; in order are milliseconds.
const pulsePatience = 5 * time.Second

func newPulse() *pulse {
	return &pulse{heard: make(map[string]uint64), awaited: make(map[string]*time.Timer)}
}

// open notes a new stream that cut ends.
func (p *pulse) open(cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	p.opened, p.cut = p.count, cut
}

// close notes the end of the stream: nothing is awaited of it any more.
func (p *pulse) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = nil
	for _, timer := range p.awaited {
		timer.Stop()
	}
	clear(p.awaited)
}

// hear notes an event of a container.
func (p *pulse) hear(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.changes > 0 {
		p.heard[id] = p.count
	}
	if timer := p.awaited[id]; timer != nil {
		timer.Stop()
		delete(p.awaited, id)
	}
}

// begin notes that a change is about to be made; end takes what it returns.
func (p *pulse) begin() (since uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	return p.count
}

// end notes that a change is over. With told, the engine must have told of the container since the
// change began, or do so soon.
func (p *pulse) end(since uint64, id string, told bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.heard[id]
	if p.changes--; p.changes == 0 {
		clear(p.heard)
	}
	if !told || last > since || p.cut == nil || since < p.opened || p.awaited[id] != nil {
		return
	}
	p.awaited[id] = time.AfterFunc(pulsePatience, func() { p.miss(id) })
}

// miss ends a stream that did not tell of a container.
func (p *pulse) miss(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awaited[id] != nil {
		p.silent()
	}
}

// doubt ends the stream, because what it should have told was found in another way.
func (p *pulse) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent()
}

func (p *pulse) silent() {
	if p.cut != nil {
		p.cut()
	}
}
