package update

import (
	"time"

	"resin-supervisor/update/plan"
)

// backoff remembers steps that failed, and steps that were carried out and came up again for the same
// object, and says when they may be tried again: after 1, 2, 4 ... seconds up to a limit
// (docs/spec/engine.md 4.2, 5.2). It is pure: the time is an argument.
type backoff struct {
	limit time.Duration
	waits map[string]*wait // failures, by kind and key of a step
	runs  map[string]*runs // steps carried out, by kind, key and object
}

type wait struct {
	app   string
	count int
	until time.Time
}

type runs struct {
	_ [0]func() // nobody compares it: no code for that

	app   string
	key   string
	kind  plan.Kind
	count int
	last  time.Time
	until time.Time
}

// quiet is how long a step must not have come up again before it counts as having had its effect,
// beside the time it had to wait itself. Settling does not end it: what undoes a step may well come
// after that.
const quiet = 10 * time.Minute

func newBackoff(limit time.Duration) *backoff {
	return &backoff{limit: limit, waits: make(map[string]*wait), runs: make(map[string]*runs)}
}

func identity(s plan.Step) string { return string(s.Kind) + " " + s.Key }

// until says when a step may run, the zero time when at once.
func (b *backoff) until(s plan.Step) time.Time {
	until := time.Time{}
	if w := b.waits[identity(s)]; w != nil {
		until = w.until
	}
	if r := b.runs[effect(s)]; r != nil && r.until.After(until) {
		until = r.until
	}
	return until
}

// effect identifies what a step is to bring about: the step and its object. The reason is no part of it,
// since it may be told in other words each time. Of containers of one service the image tells which release
// they are of, of a name of an image the image it stands for, and of settings the change is the object.
func effect(s plan.Step) string {
	object := ""
	switch {
	case s.Container != nil:
		object = s.Container.ImageEngine
	case s.Kind == plan.Save:
		object = s.Records[0].EngineID
	case s.Changes != nil:
		object = s.Reason
	}
	return identity(s) + " " + object
}

// failed notes a failure and returns when the step may run again.
func (b *backoff) failed(s plan.Step, now time.Time) time.Time {
	count := 1
	if w := b.waits[identity(s)]; w != nil {
		count += w.count
	}
	w := &wait{app: s.AppUUID, count: count, until: now.Add(b.span(count))}
	b.waits[identity(s)] = w
	return w.until
}

// done notes that a step was carried out. The same step for the same object again, although it was
// carried out before, had no lasting effect: it is reported and must wait before the next time.
func (b *backoff) done(s plan.Step, now time.Time) (again bool) {
	delete(b.waits, identity(s))
	if !lasting(s.Kind) {
		return false
	}
	b.undone(s)
	r := b.runs[effect(s)]
	if r == nil || now.Sub(r.until) > quiet && now.Sub(r.last) > quiet {
		r = &runs{app: s.AppUUID, key: s.Key, kind: s.Kind}
		b.runs[effect(s)] = r
	}
	r.count++
	r.last = now
	if r.count > 1 {
		r.until = now.Add(b.span(r.count - 1))
	}
	return r.count > 1
}

// undone forgets the steps that made what s takes away: it is no wonder when they come up again, and
// what was stopped in order to be replaced must not wait.
func (b *backoff) undone(s plan.Step) {
	switch s.Kind {
	case plan.Kill, plan.Remove, plan.RemoveNetwork, plan.RemoveVolume, plan.RemoveImage:
	default:
		return
	}
	for id, r := range b.runs {
		if r.key == s.Key && r.kind != s.Kind {
			delete(b.runs, id)
		}
	}
}

// lasting tells whether a step changes something that is to stay so. A reboot is not required twice, but
// after the request was withdrawn.
func lasting(k plan.Kind) bool {
	return k != plan.Look && k != plan.RequireReboot && k != plan.TakeLock && k != plan.ReleaseLock && k != plan.SweepLock && k != plan.SetCommit
}

// span is how long to wait after so many failures: 1, 2, 4 ... seconds up to the limit.
func (b *backoff) span(count int) time.Duration {
	if count >= 30 {
		return b.limit
	}
	return min(b.limit, 500*time.Millisecond<<count)
}

// pause lets a step wait without counting a failure.
func (b *backoff) pause(s plan.Step, until time.Time) time.Time {
	w := b.waits[identity(s)]
	if w == nil {
		w = &wait{app: s.AppUUID}
		b.waits[identity(s)] = w
	}
	w.until = until
	return until
}

// settled forgets the failures of an app that has nothing left to do.
func (b *backoff) settled(app string) {
	for id, w := range b.waits {
		if w.app == app {
			delete(b.waits, id)
		}
	}
}

// forget forgets everything about an app: something else is wanted of it.
func (b *backoff) forget(app string) {
	b.settled(app)
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
	for _, r := range b.runs {
		r.until = time.Time{}
	}
}

// reached forgets the failures, and of the steps those whose effect has lasted.
func (b *backoff) reached(now time.Time) {
	clear(b.waits)
	for id, r := range b.runs {
		if now.Sub(r.until) > quiet && now.Sub(r.last) > quiet {
			delete(b.runs, id)
		}
	}
}

// reset forgets everything: a new target is tried at once.
func (b *backoff) reset() {
	clear(b.waits)
	clear(b.runs)
}
