package lock

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"resin-supervisor/update/view"
)

// Claims couples the update lock files of an app with a claim inside the agent. One of the loop and the actions of the
// API has the claim of an app at a time, and works on the app (docs/spec/engine.md 7). It is safe for concurrent use.
type Claims struct {
	Dir *Dir

	mu     sync.Mutex
	claims map[int]chan struct{} // by app id; holds a token while claimed
}

// NewClaims are the claims for the lock files in a directory.
func NewClaims(dir *Dir) *Claims {
	return &Claims{Dir: dir, claims: make(map[int]chan struct{})}
}

func (l *Claims) claim(appID int) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims[appID] == nil {
		l.claims[appID] = make(chan struct{}, 1)
	}
	return l.claims[appID]
}

// Take claims the app, waiting until ctx ends at most, and takes the lock files of its services. When it cannot take one
// file it takes none, and the error is a *view.LockedError.
func (l *Claims) Take(ctx context.Context, appID int, services []string, force bool) error {
	return l.claimed(ctx, appID, false, func() error { return l.Dir.Take(appID, services, force) })
}

// TakeAll is Take for an action outside the plan. The lock of any service counts, also of one that has no container.
// services is called once the app is claimed. ceded says that the caller has the claim already.
func (l *Claims) TakeAll(ctx context.Context, appID int, ceded bool, services func() []string, force bool) error {
	return l.claimed(ctx, appID, ceded, func() error {
		known, err := l.Dir.Services(appID)
		if err != nil {
			return err
		}
		for _, service := range services() {
			if !slices.Contains(known, service) {
				known = append(known, service)
			}
		}
		return l.Dir.Take(appID, known, force)
	})
}

// claimed claims an app, unless that was done, and keeps the claim unless f fails.
func (l *Claims) claimed(ctx context.Context, appID int, ceded bool, f func() error) error {
	claim := l.claim(appID)
	if !ceded {
		select {
		case claim <- struct{}{}:
		case <-ctx.Done():
			return HeldElsewhere(appID)
		}
	}
	err := f()
	if err == nil {
		return nil
	}
	<-claim
	if held := (*HeldError)(nil); errors.As(err, &held) {
		return &view.LockedError{Text: held.Error()}
	}
	return err
}

// HeldElsewhere is the error when the claim was not free in time (docs/spec/device-api.md S12).
func HeldElsewhere(appID int) error {
	return &view.LockedError{Text: "Locks for app " + strconv.Itoa(appID) + " are being held by another supervisor operation"}
}

// Release removes the lock files of an app that the caller has claimed, and gives the claim back. On
// an error the claim stays.
func (l *Claims) Release(appID int) error {
	if err := l.Dir.Release(appID); err != nil {
		return err
	}
	<-l.claim(appID)
	return nil
}

// GiveUp is Release for who does not come back to try again: the claim is given back also on an error.
// A lock file that stays then counts as held by whoever has the claim next, who removes it.
func (l *Claims) GiveUp(appID int) error {
	err := l.Dir.Release(appID)
	<-l.claim(appID)
	return err
}

// Sweep removes lock files that an earlier run of the agent left, unless somebody works on the app.
func (l *Claims) Sweep(appID int) error {
	claim := l.claim(appID)
	select {
	case claim <- struct{}{}:
		defer func() { <-claim }()
		return l.Dir.Release(appID)
	default:
		return nil
	}
}
