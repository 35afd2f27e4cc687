package observe

import (
	"sync"
	"sync/atomic"

	"resin-supervisor/update/current"
)

// Store holds the current state. Readers take a snapshot without a lock. Writers make a new snapshot, one at a time.
// It is safe for concurrent use.
type Store struct {
	state    atomic.Pointer[current.State]
	mu       sync.Mutex
	wake     chan struct{} // holds one token: something changed since the loop last planned
	onChange func()        // called after each change
	listed   chan struct{} // closed once the engine was listed
}

// NewStore is a store with a first snapshot. onChange is called after each change and must not wait; it may be nil.
func NewStore(initial *current.State, onChange func()) *Store {
	if onChange == nil {
		onChange = func() {}
	}
	s := &Store{wake: make(chan struct{}, 1), onChange: onChange, listed: make(chan struct{})}
	s.state.Store(initial)
	return s
}

// Load is the newest snapshot. It must not be changed.
func (s *Store) Load() *current.State { return s.state.Load() }

// Listed is closed once all objects of the engine were listed.
func (s *Store) Listed() <-chan struct{} { return s.listed }

// Changed has a token when something changed since the token was taken.
func (s *Store) Changed() <-chan struct{} { return s.wake }

// Wake puts the token into Changed.
func (s *Store) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Update makes a new snapshot, and wakes the loop if change changed anything.
func (s *Store) Update(change func(*current.State) *current.State) {
	if s.UpdateQuietly(change) {
		s.Wake()
	}
}

// UpdateQuietly makes a new snapshot when no decision depends on the change, such as the progress of a download.
func (s *Store) UpdateQuietly(change func(*current.State) *current.State) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.state.Load()
	next := change(old)
	s.state.Store(next)
	if next.Listed && !old.Listed {
		close(s.listed)
	}
	if changed = next != old; changed {
		s.onChange()
	}
	return changed
}
