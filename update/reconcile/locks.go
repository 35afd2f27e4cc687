package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// cedeEvery is how often an action with force asks whether the loop still works on the app.
const cedeEvery = time.Second

// occupied tells whether a step works on a service, or on anything of its app.
func (l *Loop) occupied(appID int, service string, anything bool) bool {
	for _, t := range l.running {
		s := t.step
		// Who waits for the lock of the app does not work on it yet.
		if s.AppID == appID && !imagesOnly(s) && s.Kind != plan.TakeLock && (anything || s.ServiceName() == service) {
			return true
		}
	}
	return false
}

// works tells whether a step works on an app.
func (l *Loop) works(appID int) bool { return l.occupied(appID, "", true) }

// cede gives the loop's claim of an app to the caller, unless a step works on the app. It tells whether the caller has the
// claim now.
func (l *Loop) cede(appID int) bool {
	for uuid, id := range l.found.locked {
		if id == appID && l.asked.actions[uuid] == nil && !l.works(appID) {
			delete(l.found.locked, uuid)
			return true
		}
	}
	return false
}

// claimed tells whether a request that holds the locks of an app waits or is under way.
func (l *Loop) claimed(appID int) bool {
	return slices.ContainsFunc(l.asked.requests, func(r *request) bool { return r.appID == appID && r.locking() })
}

// reserved tells whether a step has to wait because a request works on its app. The client of the request has the locks,
// but not every step needs them.
func (l *Loop) reserved(s plan.Step) bool {
	return !imagesOnly(s) && (l.claimed(s.AppID) ||
		slices.ContainsFunc(s.Records, func(r current.Record) bool { return l.claimed(r.AppID) }))
}

// imagesOnly tells whether a step brings images and touches nothing else.
func imagesOnly(s plan.Step) bool {
	return s.Kind == plan.Look || s.Kind == plan.Fetch || s.Kind == plan.Save
}

// aside tells whether a step shows that a request is under way, and no update.
func (l *Loop) aside(s plan.Step, requested bool) bool {
	return (requested || l.claimed(s.AppID)) && !l.status.Applying && l.asked.actions[s.AppUUID] == nil
}

// withLock runs f while it holds the update locks of the app.
func (l *Loop) withLock(ctx context.Context, appID int, force bool, f func() error) (err error) {
	if !l.o.Store.Load().Synced {
		return view.ErrEngineDown
	}
	wait, cancel := context.WithTimeout(ctx, claimTimeout)
	err = l.takeLocks(wait, appID, force, force)
	cancel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.o.Locks.GiveUp(appID)) }() // also when f breaks: the API goes on then
	return f()
}

// takeLocks takes the update locks of an app for an action. With past it takes the claim over from the loop as soon as no
// step works on the app.
func (l *Loop) takeLocks(ctx context.Context, appID int, force, past bool) error {
	for {
		ceded := false
		err := l.call(ctx, func() {
			force = force || l.config.have.OverrideLock
			past = past || force
			ceded = past && l.cede(appID)
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return lock.HeldElsewhere(appID)
		}
		if err != nil {
			return err
		}
		turn, cancel := ctx, context.CancelFunc(func() {})
		if past {
			turn, cancel = context.WithTimeout(ctx, cedeEvery)
		}
		err = l.o.Locks.TakeAll(turn, appID, ceded, func() []string {
			return slices.Collect(maps.Keys(l.o.Store.Load().Newest(appID)))
		}, force)
		over := err == nil || turn.Err() == nil || ctx.Err() != nil
		cancel()
		if over {
			return err
		}
	}
}

// WithAllLocks runs f while it holds the update locks of every app that has an object on the device,
// for what concerns the whole device (docs/spec/device-api.md 1.10). Until the engine was listed these are
// the apps with a directory for locks. With force it overrides users' locks. The error is a *view.LockedError when a lock
// forbids it, and f does not run then. Otherwise the error is that of f.
func (l *Loop) WithAllLocks(ctx context.Context, force bool, f func() error) (err error) {
	return l.withAllLocks(ctx, force, force, f)
}

func (l *Loop) withAllLocks(ctx context.Context, force, past bool, f func() error) (err error) {
	apps := func() []int { return l.o.Store.Load().AppIDs() }
	if !l.o.Store.Load().Listed {
		ids, err := l.o.Locks.Dir.Apps()
		if err != nil {
			return err
		}
		apps = func() []int { return slices.Clone(ids) }
	}
	wait, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	taken := make(map[int]bool)
	for {
		// In the same order for every caller, so that two of them do not wait for one another. An app may
		// come while the lock of another is waited for.
		ids := slices.DeleteFunc(apps(), func(id int) bool { return taken[id] })
		if len(ids) == 0 {
			return f()
		}
		id := ids[0]
		if err := l.takeLocks(wait, id, force, past); err != nil {
			return err
		}
		taken[id] = true
		defer func() { err = errors.Join(err, l.o.Locks.GiveUp(id)) }()
	}
}
