package update

import (
	"time"

	"resin-supervisor/update/plan"
)

// backoff remembers steps that failed, and steps that were carried out and came up again with the
// same reason, and says when they may be tried again: after 1, 2, 4 ... seconds up to a limit
// (spec/engine.md 5.2). It is pure: the time is an argument.
type backoff struct {
	limit time.Duration
	waits map[string]*wait // by kind and key of a step
	runs  map[string]*runs // by kind, key and reason of a step
}

type wait struct {
	app   string
	count int
	until time.Time
}

type runs struct {
	app   string
	count int
}

func newBackoff(limit time.Duration) *backoff {
	return &backoff{limit: limit, waits: make(map[string]*wait), runs: make(map[string]*runs)}
}

func identity(s plan.Step) string { return string(s.Kind) + " " + s.Key }

// until says when a step may run, the zero time when at once.
func (b *backoff) until(s plan.Step) time.Time {
	if w := b.waits[identity(s)]; w != nil {
		return w.until
	}
	return time.Time{}
}

// failed notes a failure and returns when the step may run again.
func (b *backoff) failed(s plan.Step, now time.Time) time.Time {
	count := 1
	if w := b.waits[identity(s)]; w != nil {
		count += w.count
	}
	return b.delay(s, count, now)
}

// done notes that a step was carried out. The same step with the same reason again, before its app
// was settled, had no lasting effect: it is reported and must wait.
func (b *backoff) done(s plan.Step, now time.Time) (again bool) {
	id := identity(s) + " " + s.Reason
	if b.runs[id] == nil {
		b.runs[id] = &runs{app: s.AppUUID}
	}
	b.runs[id].count++
	if b.runs[id].count == 1 {
		delete(b.waits, identity(s))
		return false
	}
	b.delay(s, b.runs[id].count-1, now)
	return true
}

func (b *backoff) delay(s plan.Step, count int, now time.Time) time.Time {
	span := b.limit
	if count < 30 {
		span = min(span, 500*time.Millisecond<<count)
	}
	w := &wait{app: s.AppUUID, count: count, until: now.Add(span)}
	b.waits[identity(s)] = w
	return w.until
}

// settled forgets everything about an app.
func (b *backoff) settled(app string) {
	for id, w := range b.waits {
		if w.app == app {
			delete(b.waits, id)
		}
	}
	for id, r := range b.runs {
		if r.app == app {
			delete(b.runs, id)
		}
	}
}

// retryNow lets every waiting step run at once; how often it failed is not forgotten.
func (b *backoff) retryNow() {
	for _, w := range b.waits {
		w.until = time.Time{}
	}
}

// reset forgets everything: a new target is tried at once.
func (b *backoff) reset() {
	clear(b.waits)
	clear(b.runs)
}
