package lock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// waiting is a running Wait.
type waiting struct {
	fixture
	ended chan error
}

// wait starts Wait and checks that it does not end within a short time.
func (f fixture) wait(ctx context.Context, apps ...int) waiting {
	f.Helper()
	w := waiting{f, make(chan error, 1)}
	go func() { w.ended <- f.Wait(ctx, apps...) }()
	w.goesOn()
	return w
}

func (w waiting) goesOn() {
	w.Helper()
	select {
	case err := <-w.ended:
		w.Fatalf("ended early: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func (w waiting) ends() {
	w.Helper()
	select {
	case err := <-w.ended:
		w.must(err)
	case <-time.After(10 * time.Second):
		w.Fatal("does not end")
	}
}

func TestWaitEndsWhenTheLockGoes(t *testing.T) {
	for name, release := range map[string]func(f fixture, path string){
		"removed":                 func(f fixture, path string) { f.must(os.Remove(path)) },
		"renamed":                 func(f fixture, path string) { f.must(os.Rename(path, path+".off")) },
		"given to the supervisor": func(f fixture, path string) { f.must(os.Chown(path, owner, -1)) },
		"service removed":         func(f fixture, path string) { f.must(os.RemoveAll(filepath.Dir(path))) },
		"app removed":             func(f fixture, path string) { f.must(os.RemoveAll(filepath.Dir(filepath.Dir(path)))) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			path := f.lock("7", "web", "updates.lock")
			other := f.lock("8", "web", "resin-updates.lock")
			w := f.wait(t.Context(), 7, 8)
			// none of this frees an app
			f.must(os.Chtimes(path, time.Now(), time.Now()))
			f.must(os.Remove(f.lock("7", "web", "something")))
			f.must(os.Remove(f.lock("6", "web", "updates.lock")))
			w.goesOn()
			release(f, path)
			w.ends()
			if _, err := os.Lstat(other); err != nil {
				f.Fatal("the lock of another app is gone")
			}
		})
	}
}

func TestWaitEndsAtOnce(t *testing.T) {
	f := newFixture(t)
	f.must(f.Wait(t.Context(), 7)) // no directory at all
	f.lock("7", "web", "updates.lock")
	f.ours("8", "web", "updates.lock")
	f.must(f.Wait(t.Context(), 7, 8))
}

// Removing one of two locks ends Wait: the planner may need only that one.
func TestWaitEndsOnAnyRemoval(t *testing.T) {
	f := newFixture(t)
	f.lock("7", "old", "updates.lock")
	path := f.lock("7", "web", "updates.lock")
	w := f.wait(t.Context(), 7)
	f.must(os.Remove(path))
	w.ends()
}

func TestWaitSeesDirectoriesThatAppearLater(t *testing.T) {
	f := newFixture(t)
	f.lock("7", "web", "updates.lock")
	w := f.wait(t.Context(), 7)
	path := f.lock("7", "new", "updates.lock")
	w.goesOn()
	f.must(os.Remove(path))
	w.ends()
}

func TestWaitEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	f.lock("7", "web", "updates.lock")
	ctx, cancel := context.WithCancel(t.Context())
	w := f.wait(ctx, 7)
	cancel()
	select {
	case err := <-w.ended:
		if !errors.Is(err, context.Canceled) {
			f.Fatalf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		f.Fatal("does not end")
	}
}
