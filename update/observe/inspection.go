package observe

import (
	"context"
	"time"

	"resin-supervisor/hostos/retry"
	"resin-supervisor/update/current"
)

// Enqueue asks to inspect an object, whatever was seen of it.
func (w *Watcher) Enqueue(o Object) {
	w.mu.Lock()
	w.pending[o] = time.Time{}
	w.mu.Unlock()
	w.nudge()
}

// noticed asks to inspect an object to which something happened at the engine's time at. It does nothing when a later
// inspection has seen that already: most events tell what a step just did.
func (w *Watcher) noticed(o Object, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if covers(w.queue.began[o], at, now) || covers(w.queue.began[Everything], at, now) {
		return
	}
	if since, queued := w.pending[o]; queued && since.IsZero() {
		return
	}
	w.pending[o] = at
	w.nudge()
}

// covers tells whether an inspection that began at inspected saw what happened at the time at, of which an event
// tells now. The engine changes an object before it sends the event, and it runs on this machine, so both times are
// of one clock. The answer is no when that is in doubt, because the event comes late or the clock was set since. A
// wrong no costs one inspection.
func covers(inspected, at, now time.Time) bool {
	if inspected.IsZero() || at.IsZero() || !at.Before(inspected) {
		return false
	}
	lag := now.Round(0).Sub(at)
	set := now.Round(0).Sub(inspected.Round(0)) - now.Sub(inspected)
	return lag >= 0 && lag < coverSpan && set.Abs() < coverSpan/100
}

// coverSpan is how old an event may be that an inspection may have seen.
const coverSpan = time.Second

func (w *Watcher) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Hold keeps events from causing inspections of a container while a step works on it. release ends that: what
// happened since the step's own last inspection is inspected then.
func (w *Watcher) Hold(id string) (release func()) {
	w.mu.Lock()
	w.held[id]++
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.held[id]--; w.held[id] == 0 {
			delete(w.held, id)
		}
		if len(w.pending) > 0 {
			w.nudge()
		}
	}
}

// compareAfter is how long nothing may have happened before the containers are compared with what is known of them. A
// stream that stalled while nothing was done is found so. Once an hour adds little to six wake-ups a minute, and few
// poll intervals are longer.
const compareAfter = time.Hour

// inspectPending inspects pending objects, one at a time, until ctx ends.
func (w *Watcher) inspectPending(ctx context.Context) {
	quiet := time.NewTimer(compareAfter)
	defer quiet.Stop()
	delay := minPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
			w.compare(ctx)
		case <-w.kick:
		}
		for o, ok := w.take(); ok && ctx.Err() == nil; o, ok = w.take() {
			if w.inspectWithRetry(ctx, o, delay) {
				delay = minPause
			} else {
				delay = min(delay*2, maxPause)
			}
		}
		quiet.Reset(compareAfter)
	}
}

// inspectWithRetry inspects one object. After a failure the state is not certain, so everything is listed again. The
// pause keeps a failing engine from being asked again and again.
func (w *Watcher) inspectWithRetry(ctx context.Context, o Object, delay time.Duration) (done bool) {
	err := w.Inspect(ctx, o)
	if err == nil || ctx.Err() != nil {
		return true
	}
	w.log.Warn().Err(err).Str("kind", o.kind).Str("id", o.id).Msg("inspection failed, will list everything again")
	retry.Sleep(ctx, delay)
	if w.EngineError() == "" {
		w.Enqueue(Everything)
	}
	return false
}

// compare lists the containers, and ends the event stream when that should have told of a difference.
func (w *Watcher) compare(ctx context.Context) {
	cur := w.store.Load()
	found, err := w.summaries(ctx)
	if err != nil || !cur.Synced {
		return // the end of the stream tells when the engine is gone
	}
	if differs(cur, found) {
		w.stream.doubt()
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

func (w *Watcher) take() (Object, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, all := w.pending[Everything]; all {
		clear(w.pending)
		return Everything, true
	}
	for o := range w.pending {
		if o.kind != "container" || !w.isHeld(o.id) {
			return o, true
		}
	}
	return Object{}, false
}

// isHeld tells whether a step works on a container, or may just have created it. The caller holds mu.
func (w *Watcher) isHeld(id string) bool {
	return w.held[id] > 0 || w.held[PendingCreate] > 0 && w.store.Load().Containers[id] == nil
}

// Inspect reads one object from the engine and writes what it found into the store.
func (w *Watcher) Inspect(ctx context.Context, o Object) error {
	i := w.begin(o)
	change, err := w.read(ctx, o)
	w.end(i, change, err == nil)
	return err
}

// Gone writes into the store that a container does not exist any more, as the engine answered.
func (w *Watcher) Gone(id string) {
	i := w.begin(Container(id))
	w.end(i, func(s *current.State) *current.State { return s.WithoutContainer(id) }, true)
}

// Change does work that changes a container, whose id work answers. With expectEvent the engine must send an event of
// that container when the work succeeds. If no event comes, the stream is replaced.
func (w *Watcher) Change(expectEvent bool, work func() (id string, err error)) error {
	since := w.stream.begin()
	id, err := work()
	w.stream.end(since, id, expectEvent && err == nil)
	return err
}

// inspection is one that is under way.
type inspection struct {
	Object
	at    uint64 // place in the order of inspections
	began time.Time
}

func (w *Watcher) begin(o Object) inspection {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, o)
	q := &w.queue
	q.listing = q.listing || o == Everything
	q.underWay++
	q.clock++
	return inspection{o, q.clock, time.Now()}
}

func (w *Watcher) end(i inspection, change func(*current.State) *current.State, seen bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &w.queue
	if change != nil && q.seen[i.Object] <= i.at {
		q.seen[i.Object] = i.at
		w.store.Update(change)
	}
	switch {
	case i.Object == Everything:
		q.listing = false
	case q.listing: // the listing may have read the object before this inspection: inspect it once more
		w.pending[i.Object] = time.Time{}
		w.nudge()
	}
	if seen {
		w.saw(i)
	}
	if q.underWay--; q.underWay == 0 {
		clear(q.seen)
	}
}

// saw takes an object off those to be inspected when the inspection saw what happened to it, and remembers the
// inspection for a while.
func (w *Watcher) saw(i inspection) {
	now := time.Now()
	if at, queued := w.pending[i.Object]; queued && covers(i.began, at, now) {
		delete(w.pending, i.Object)
	}
	for o, began := range w.queue.began {
		if now.Sub(began) > coverSpan {
			delete(w.queue.began, o)
		}
	}
	w.queue.began[i.Object] = i.began
}
