package update

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"resin-supervisor/update/lock"
	"resin-supervisor/update/view"
)

// locks couples the update lock files of an app with the claim of whoever inside the agent works on
// it: the loop or one action of the API at a time (docs/spec/engine.md 7).
type locks struct {
	dir *lock.Dir

	mu     sync.Mutex
	claims map[int]chan struct{} // by app id; holds a token while claimed
}

func newLocks(dir *lock.Dir) *locks {
	return &locks{dir: dir, claims: make(map[int]chan struct{})}
}

func (l *locks) claim(appID int) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims[appID] == nil {
		l.claims[appID] = make(chan struct{}, 1)
	}
	return l.claims[appID]
}

// take claims the app, waiting for ctx, and takes the lock files of its services. When one cannot be
// taken none is, and the error is a *view.LockedError.
func (l *locks) take(ctx context.Context, appID int, services []string, force bool) error {
	return l.claimed(ctx, appID, false, func() error { return l.dir.Take(appID, services, force) })
}

// takeAll is take for who works on an app outside the plan: a lock counts that any service left, also one
// that has no container any more, or none yet. Which services there are is asked once the app is claimed;
// ceded says that the caller has the claim already.
func (l *locks) takeAll(ctx context.Context, appID int, ceded bool, services func() []string, force bool) error {
	return l.claimed(ctx, appID, ceded, func() error {
		known, err := l.dir.Services(appID)
		if err != nil {
			return err
		}
		for _, service := range services() {
			if !slices.Contains(known, service) {
				known = append(known, service)
			}
		}
		return l.dir.Take(appID, known, force)
	})
}

// claimed claims an app, unless that was done, waiting for ctx, and keeps the claim unless f fails.
func (l *locks) claimed(ctx context.Context, appID int, ceded bool, f func() error) error {
	claim := l.claim(appID)
	if !ceded {
		select {
		case claim <- struct{}{}:
		case <-ctx.Done():
			return heldElsewhere(appID)
		}
	}
	err := f()
	if err == nil {
		return nil
	}
	<-claim
	if held := (*lock.HeldError)(nil); errors.As(err, &held) {
		return &view.LockedError{Text: held.Error()}
	}
	return err
}

// heldElsewhere is the answer to who did not get the claim in time (docs/spec/device-api.md S12).
func heldElsewhere(appID int) error {
	return &view.LockedError{Text: "Locks for app " + strconv.Itoa(appID) + " are being held by another supervisor operation"}
}

// release removes the lock files of an app that the caller has claimed, and gives the claim back. On
// an error the claim stays.
func (l *locks) release(appID int) error {
	if err := l.dir.Release(appID); err != nil {
		return err
	}
	<-l.claim(appID)
	return nil
}

// giveUp is release for who does not come back to try again: the claim is given back also on an error.
// A lock file that stays then counts as held by whoever has the claim next, who removes it.
func (l *locks) giveUp(appID int) error {
	err := l.dir.Release(appID)
	<-l.claim(appID)
	return err
}

// sweep removes lock files that an earlier run of the agent left, unless somebody works on the app.
func (l *locks) sweep(appID int) error {
	claim := l.claim(appID)
	select {
	case claim <- struct{}{}:
		defer func() { <-claim }()
		return l.dir.Release(appID)
	default:
		return nil
	}
}
