package inotify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadline ends a test that waits for an event that never comes.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T) *Watcher {
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func TestReadNamesWhatHappened(t *testing.T) {
	w, dir := open(t), t.TempDir()
	watch, err := w.Add(dir, unix.IN_CREATE|unix.IN_DELETE)
	if err != nil {
		t.Fatal(err)
	}
	// an event with the longest name must fit into one read
	name := strings.Repeat("n", 255)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var got []Event
	for len(got) < 2 {
		events, err := w.Read(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
	}
	want := []Event{{watch, unix.IN_CREATE, name}, {watch, unix.IN_DELETE, name}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestReadEndsWithContextAndWorksAgain(t *testing.T) {
	w, dir := open(t), t.TempDir()
	if _, err := w.Add(dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := w.Read(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled read: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := w.Read(deadline(t))
	if err != nil || len(events) != 1 || events[0].Name != "f" {
		t.Fatalf("read after a cancelled one: %v, %v", events, err)
	}
}

func TestCloseEndsRead(t *testing.T) {
	w := open(t)
	ended := make(chan error)
	go func() {
		_, err := w.Read(context.Background())
		ended <- err
	}()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Fatalf("got %v, want %v", err, os.ErrClosed)
	}
}

func TestAddMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing")
	_, err := open(t).Add(path, unix.IN_CREATE)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 'a', 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := decode(b)
		if err != nil && events != nil {
			t.Fatal("events and an error")
		}
		if len(events)*unix.SizeofInotifyEvent > len(b) {
			t.Fatalf("%d events from %d bytes", len(events), len(b))
		}
	})
}
