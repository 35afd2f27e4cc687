// Package backoff says when a step may be tried again that failed, or that had no lasting effect.
package backoff

import (
	"time"

	"resin-supervisor/hostos/retry"
	"resin-supervisor/update/plan"
)

// Backoff remembers steps that failed, and steps that were carried out and came up again for the same object. It says
// when they may be tried again: after 1, 2, 4 ... seconds up to a limit (docs/spec/engine.md 4.2, 5.2). The time is an
// argument.
type Backoff struct {
	Limit time.Duration    // of a delay
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

// Quiet is how long a step must not have come up again before it counts as having had its effect,
// beside the time it had to wait itself. Settling does not end it: what undoes a step may well come
// after that.
const Quiet = 10 * time.Minute

func New(limit time.Duration) *Backoff {
	return &Backoff{Limit: limit, waits: make(map[string]*wait), runs: make(map[string]*runs)}
}

func identity(s plan.Step) string { return string(s.Kind) + " " + s.Key }

// Until says when a step may run, the zero time when at once.
func (b *Backoff) Until(s plan.Step) time.Time {
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

// Failed notes a failure and returns when the step may run again.
func (b *Backoff) Failed(s plan.Step, now time.Time) time.Time {
	count := 1
	if w := b.waits[identity(s)]; w != nil {
		count += w.count
	}
	w := &wait{app: s.AppUUID, count: count, until: now.Add(b.Span(count))}
	b.waits[identity(s)] = w
	return w.until
}

// Done notes that a step was carried out. The same step for the same object again, although it was
// carried out before, had no lasting effect: it is reported and must wait before the next time.
func (b *Backoff) Done(s plan.Step, now time.Time) (again bool) {
	delete(b.waits, identity(s))
	if !lasting(s.Kind) {
		return false
	}
	b.undone(s)
	r := b.runs[effect(s)]
	if r == nil || now.Sub(r.until) > Quiet && now.Sub(r.last) > Quiet {
		r = &runs{app: s.AppUUID, key: s.Key, kind: s.Kind}
		b.runs[effect(s)] = r
	}
	r.count++
	r.last = now
	if r.count > 1 {
		r.until = now.Add(b.Span(r.count - 1))
	}
	return r.count > 1
}

// undone forgets the steps that made what s takes away: it is no wonder when they come up again, and
// what was stopped in order to be replaced must not wait.
func (b *Backoff) undone(s plan.Step) {
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

// Span is how long to wait after so many failures: 1, 2, 4 ... seconds up to the limit.
func (b *Backoff) Span(count int) time.Duration {
	return retry.Backoff(count, time.Second, b.Limit)
}

// Pause lets a step wait without counting a failure.
func (b *Backoff) Pause(s plan.Step, until time.Time) time.Time {
	w := b.waits[identity(s)]
	if w == nil {
		w = &wait{app: s.AppUUID}
		b.waits[identity(s)] = w
	}
	w.until = until
	return until
}

// Settled forgets the failures of an app that has nothing left to do.
func (b *Backoff) Settled(app string) {
	for id, w := range b.waits {
		if w.app == app {
			delete(b.waits, id)
		}
	}
}

// Forget forgets everything about an app: something else is wanted of it.
func (b *Backoff) Forget(app string) {
	b.Settled(app)
	for id, r := range b.runs {
		if r.app == app {
			delete(b.runs, id)
		}
	}
}

// RetryNow lets every waiting step run at once; how often it failed is not forgotten.
func (b *Backoff) RetryNow() {
	for _, w := range b.waits {
		w.until = time.Time{}
	}
	for _, r := range b.runs {
		r.until = time.Time{}
	}
}

// Reached forgets the failures, and of the steps those whose effect has lasted.
func (b *Backoff) Reached(now time.Time) {
	clear(b.waits)
	for id, r := range b.runs {
		if now.Sub(r.until) > Quiet && now.Sub(r.last) > Quiet {
			delete(b.runs, id)
		}
	}
}

// Reset forgets everything: a new target is tried at once.
func (b *Backoff) Reset() {
	clear(b.waits)
	clear(b.runs)
}
