package update

import (
	"context"
	"os"
	"path/filepath"
	"testing"

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
	l := &loop{
		calls: make(chan func()), freed: make(map[int]context.CancelFunc), backoff: newBackoff(0),
		exec: &executor{locks: newLocks(lock.New(root))},
	}
	s := plan.Step{Kind: plan.TakeLock, AppID: 1, AppUUID: "u1"}
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		l.freed[1] = cancel
		ended := make(chan struct{})
		go func() { defer close(ended); l.awaitLock(ctx, s) }() // nobody has a lock: it ends at once
		l.retryLocks()
		l.freed[1] = func() {} // the wait that replaces it
		for over := false; !over; {
			select {
			case call := <-l.calls:
				call()
			case <-ended:
				over = true
			}
		}
		if l.freed[1] == nil {
			t.Fatal("the wait that replaced it is forgotten")
		}
	}
}
