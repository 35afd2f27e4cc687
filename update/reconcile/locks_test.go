package reconcile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/view"
)

// lockable is a loop that knows some apps and can do nothing but lock them.
func lockable(t *testing.T, state *current.State) (l *Loop, services string) {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "tmp/balena-supervisor/services"), 0o755); err != nil {
		t.Fatal(err)
	}
	l = newLoop(t, parts{state: state, locks: lock.New(root)})
	serveCalls(t, l)
	return l, filepath.Join(root, "tmp/balena-supervisor/services")
}

// isFree tells whether nobody has the claim of an app.
func isFree(l *Loop, appID int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if l.o.Locks.Take(ctx, appID, nil, false) != nil {
		return false
	}
	return l.o.Locks.Release(appID) == nil
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestWithAllLocks(t *testing.T) {
	l, dir := lockable(t, &current.State{
		Listed:     true,
		Containers: map[string]*current.Container{"a": {AppID: 7, ServiceName: "web"}, "b": {AppID: 9, ServiceName: "db"}},
		Networks:   map[string]*current.Network{"n": {AppID: 0}},
		Volumes:    map[string]*current.Volume{"v": {AppID: 11}},
	})
	ours := func() bool {
		return isThere(filepath.Join(dir, "7/web/updates.lock")) && isThere(filepath.Join(dir, "9/db/updates.lock"))
	}
	boom := errors.New("boom")
	for _, want := range []error{nil, boom} {
		err := l.WithAllLocks(context.Background(), false, func() error {
			if !ours() {
				t.Error("ran without the locks")
			}
			return want
		})
		if !errors.Is(err, want) || ours() {
			t.Fatalf("ended with %v, locks held: %v", err, ours())
		}
	}

	users := filepath.Join(dir, "9/db/updates.lock")
	if err := os.WriteFile(users, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	never := func() error { t.Error("ran against a lock"); return nil }
	err := l.WithAllLocks(context.Background(), false, never)
	if locked := (*view.LockedError)(nil); !errors.As(err, &locked) || locked.Text != "Lockfile exists for { appId: 9, service: db }" {
		t.Fatalf("a user's lock gave %v", err)
	}
	if isThere(filepath.Join(dir, "7/web/updates.lock")) || !isThere(users) {
		t.Fatal("the refused call left a lock or removed the user's")
	}
	ran := false
	if err := l.WithAllLocks(context.Background(), true, func() error { ran = true; return nil }); err != nil || !ran || isThere(users) {
		t.Fatalf("forced: %v, ran %v, the user's lock is there: %v", err, ran, isThere(users))
	}
}

// Until the engine is known, the locks that lie there count, whosever they are.
func TestWithAllLocksBeforeTheEngineIsKnown(t *testing.T) {
	l, services := lockable(t, &current.State{})
	users := filepath.Join(services, "9/db/updates.lock")
	if err := os.MkdirAll(filepath.Dir(users), 0o755); err != nil {
		t.Fatal(err)
	}
	ran := 0
	run := func() error { ran++; return nil }
	if err := l.WithAllLocks(t.Context(), false, run); err != nil || ran != 1 {
		t.Fatalf("ran %d times: %v", ran, err)
	}
	if err := os.WriteFile(users, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if locked := (*view.LockedError)(nil); !errors.As(l.WithAllLocks(t.Context(), false, run), &locked) || ran != 1 {
		t.Fatalf("ran %d times under the lock of a user", ran)
	}
	if err := l.WithAllLocks(t.Context(), true, run); err != nil || ran != 2 || isThere(users) {
		t.Fatalf("forced: ran %d times: %v, the lock is there: %v", ran, err, isThere(users))
	}
}

// An action that breaks, which its request survives, leaves no lock.
func TestBrokenActionLeavesNoLock(t *testing.T) {
	l, services := lockable(t, &current.State{
		Listed: true, Synced: true, Containers: map[string]*current.Container{"a": {AppID: 7, ServiceName: "web"}},
	})
	broken := func() error { panic("broken") }
	for name, action := range map[string]func(){
		"one app":  func() { _ = l.withLock(t.Context(), 7, false, broken) },
		"all apps": func() { _ = l.WithAllLocks(t.Context(), false, broken) },
	} {
		func() {
			defer func() { _ = recover() }()
			action()
		}()
		if isThere(filepath.Join(services, "7/web/updates.lock")) || !isFree(l, 7) {
			t.Fatalf("%s: the app stays locked", name)
		}
	}
}

// Lock files that cannot be removed do not keep the app from whoever comes next.
func TestActionGivesItsClaimBack(t *testing.T) {
	l, services := lockable(t, &current.State{Synced: true})
	app := filepath.Join(services, "12")
	spoil := func() error {
		if err := os.RemoveAll(app); err != nil {
			return err
		}
		return os.WriteFile(app, nil, 0o600)
	}
	if err := l.withLock(t.Context(), 12, false, spoil); err == nil {
		t.Fatal("a lock file that cannot be removed is no error")
	}
	if err := os.Remove(app); err != nil {
		t.Fatal(err)
	}
	if !isFree(l, 12) {
		t.Error("the app stays claimed")
	}
}
