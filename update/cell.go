package update

import (
	"sync"
	"sync/atomic"

	"resin-supervisor/update/current"
)

// cell publishes the current state. Readers take a snapshot without a lock; writers fold one change
// at a time into a new snapshot.
type cell struct {
	state atomic.Pointer[current.State]
	mu    sync.Mutex
	wake  chan struct{} // holds one token: something changed since the loop last looked
	told  func()        // called after each change; it must not wait
	// listed is closed once the engine was listed.
	listed chan struct{}
}

func newCell(initial *current.State) *cell {
	c := &cell{wake: make(chan struct{}, 1), told: func() {}, listed: make(chan struct{})}
	c.state.Store(initial)
	return c
}

func (c *cell) load() *current.State { return c.state.Load() }

// fold applies a change and wakes the loop if there was one.
func (c *cell) fold(change func(*current.State) *current.State) {
	if !c.note(change) {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// note applies a change that no decision depends on, such as the progress of a download.
func (c *cell) note(change func(*current.State) *current.State) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.state.Load()
	next := change(old)
	c.state.Store(next)
	if next.Listed && !old.Listed {
		close(c.listed)
	}
	if changed = next != old; changed {
		c.told()
	}
	return changed
}
