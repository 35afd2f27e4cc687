package update

import (
	"context"
	"time"

	"resin-supervisor/update/current"
)

// enqueue asks for a look at an object, whatever was seen of it.
func (w *watch) enqueue(o object) {
	w.mu.Lock()
	w.pending[o] = time.Time{}
	w.mu.Unlock()
	w.nudge()
}

// noticed asks for a look at an object with which something happened at the engine's time at, unless
// a look after that has seen it already: most events tell what a step just did.
func (w *watch) noticed(o object, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if covers(w.looked[o], at, now) || covers(w.looked[everything], at, now) {
		return
	}
	if since, queued := w.pending[o]; queued && since.IsZero() {
		return
	}
	w.pending[o] = at
	w.nudge()
}

// covers tells whether a look that began at look saw what happened at the time at, an event that is
// handled now. The engine changes an object before it tells of it, and it runs on this machine, so
// both times are of one clock. Where that is in doubt, because the event comes late or the clock was
// set since the look, the answer is no, which only costs another look.
func covers(look, at, now time.Time) bool {
	if look.IsZero() || at.IsZero() || !at.Before(look) {
		return false
	}
	lag := now.Round(0).Sub(at)
	set := now.Round(0).Sub(look.Round(0)) - now.Sub(look)
	return lag >= 0 && lag < coverSpan && set.Abs() < coverSpan/100
}

// coverSpan is how old an event may be that a look is held to have seen.
const coverSpan = time.Second

func (w *watch) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// hold keeps events from causing looks at a container while a step works on it.
func (w *watch) hold(id string) {
	w.mu.Lock()
	w.held[id]++
	w.mu.Unlock()
}

// unhold ends hold; what happened since the step's own last look is looked at now.
func (w *watch) unhold(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[id]--; w.held[id] == 0 {
		delete(w.held, id)
	}
	if len(w.pending) > 0 {
		w.nudge()
	}
}

// glanceAfter is how long nothing may have happened before the containers are compared with what is
// known of them, for a stream that fell silent while nothing was done. Once an hour is nothing beside
// six wake-ups a minute, and no poll interval is longer than that by much.
const glanceAfter = time.Hour

// work looks at pending objects, one at a time.
func (w *watch) work(ctx context.Context) {
	still := time.NewTimer(glanceAfter)
	defer still.Stop()
	delay := reconnectMin
	for {
		select {
		case <-ctx.Done():
			return
		case <-still.C:
			w.glance(ctx)
		case <-w.kick:
		}
		for o, ok := w.take(); ok && ctx.Err() == nil; o, ok = w.take() {
			if w.settle(ctx, o, delay) {
				delay = reconnectMin
			} else {
				delay = min(delay*2, reconnectMax)
			}
		}
		still.Reset(glanceAfter)
	}
}

// settle looks at one object. A look that fails leaves the state unsure, so everything is listed
// again; the wait keeps a failing engine from being asked without pause.
func (w *watch) settle(ctx context.Context, o object, delay time.Duration) (done bool) {
	err := w.look(ctx, o)
	if err == nil || ctx.Err() != nil {
		return true
	}
	w.log.Warn().Err(err).Str("kind", o.kind).Str("id", o.id).Msg("look at the engine did not succeed")
	pause(ctx, delay)
	if w.engineError() == "" {
		w.enqueue(everything)
	}
	return false
}

// glance lists the containers and ends the event stream when it should have told of a difference.
func (w *watch) glance(ctx context.Context) {
	cur := w.cell.load()
	found, err := w.summaries(ctx)
	if err != nil || !cur.Synced {
		return // the end of the stream tells of an engine that is gone
	}
	if differs(cur, found) {
		w.pulse.doubt()
	}
}

// differs tells whether the engine has other containers, or in other states, than are known.
func differs(cur *current.State, found map[string]string) bool {
	for id, c := range cur.Containers {
		if found[id] != c.Status {
			return true
		}
	}
	return len(found) != len(cur.Containers)
}

func (w *watch) take() (object, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, all := w.pending[everything]; all {
		clear(w.pending)
		return everything, true
	}
	for o := range w.pending {
		if o.kind != "container" || !w.worked(o.id) {
			return o, true
		}
	}
	return object{}, false
}

// worked tells whether a step works on a container, or may just have made it.
func (w *watch) worked(id string) bool {
	return w.held[id] > 0 || w.held[newcomer] > 0 && w.cell.load().Containers[id] == nil
}

// look reads one object from the engine and folds what it found into the current state.
func (w *watch) look(ctx context.Context, o object) error {
	t := w.begin(o)
	change, err := w.read(ctx, o)
	w.end(t, change, err == nil)
	return err
}

// gone folds in that a container is no more, as the engine answered.
func (w *watch) gone(id string) {
	t := w.begin(object{"container", id})
	w.end(t, func(s *current.State) *current.State { return s.WithoutContainer(id) }, true)
}

// turn is one look under way.
type turn struct {
	object
	at    uint64 // place in the order of looks
	began time.Time
}

func (w *watch) begin(o object) turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, o)
	w.listing = w.listing || o == everything
	w.looking++
	w.clock++
	return turn{o, w.clock, time.Now()}
}

func (w *watch) end(t turn, change func(*current.State) *current.State, seen bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if change != nil && w.seen[t.object] <= t.at {
		w.seen[t.object] = t.at
		w.cell.fold(change)
	}
	switch {
	case t.object == everything:
		w.listing = false
	case w.listing: // the listing may have been read before this look: look once more after it
		w.pending[t.object] = time.Time{}
		w.nudge()
	}
	if seen {
		w.saw(t)
	}
	if w.looking--; w.looking == 0 {
		clear(w.seen)
	}
}

// saw drops what a look has seen from what is to be looked at, and remembers the look for a while.
func (w *watch) saw(t turn) {
	now := time.Now()
	if at, queued := w.pending[t.object]; queued && covers(t.began, at, now) {
		delete(w.pending, t.object)
	}
	for o, began := range w.looked {
		if now.Sub(began) > coverSpan {
			delete(w.looked, o)
		}
	}
	w.looked[t.object] = t.began
}
