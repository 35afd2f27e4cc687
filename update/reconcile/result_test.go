package reconcile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/update/lock"
	"resin-supervisor/update/plan"
)

// A wait for a user's lock that was given up ends beside the wait that replaced it, and takes nothing of it
// away, whichever of its own end and its giving up it comes to first.
func TestWaitThatWasGivenUp(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "tmp/balena-supervisor/services/1/web"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := newLoop(t, parts{locks: lock.New(root)})
	s := plan.Step{Kind: plan.TakeLock, AppID: 1, AppUUID: "u1"}
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		l.found.lockWaits[1] = cancel
		ended := make(chan struct{})
		go func() { defer close(ended); l.awaitLock(ctx, s) }() // nobody has a lock: it ends at once
		l.stopLockWaits()
		l.found.lockWaits[1] = func() {} // the wait that replaces it
		for over := false; !over; {
			select {
			case call := <-l.calls:
				call()
			case <-ended:
				over = true
			}
		}
		if l.found.lockWaits[1] == nil {
			t.Fatal("the wait that replaced it is forgotten")
		}
	}
}

// What could not be downloaded after all is checked again before anything else is stopped for it.
func TestFailedDownloadEndsTrustInAPreflight(t *testing.T) {
	l := newLoop(t, parts{})
	l.found.checked = map[string]time.Time{"web:2": time.Now(), "db:2": time.Now()}
	l.failed(plan.Step{Kind: plan.Fetch, Key: "image db:2", Image: "db:2"}, errors.New("gone"))
	if _, trusted := l.found.checked["db:2"]; trusted || len(l.found.checked) != 1 {
		t.Errorf("%v", l.found.checked)
	}
}
