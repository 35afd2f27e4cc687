// Package inotify reports when files in a directory appear, change or disappear, without polling. It is a thin wrapper
// of the kernel's inotify; the end of a context ends a wait.
package inotify

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bufferSize is enough for 15 events with the longest file names. The kernel returns only complete events.
const bufferSize = 4096

// Event is one change.
type Event struct {
	Watch int    // result of Add; -1 if the kernel dropped events (unix.IN_Q_OVERFLOW)
	Mask  uint32 // unix.IN_* bits
	Name  string // of the entry in the watched directory, empty for the directory itself
}

// Watcher is one inotify instance. Only one goroutine may call Read at a time. Any goroutine may call Add.
type Watcher struct {
	file *os.File
}

// New opens an inotify instance. The kernel allows 128 per user by default.
func New() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	return &Watcher{file: os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add watches path for the unix.IN_* events of mask, and returns the number that is Watch in its events. A path that is
// watched already keeps its number and gets the new mask. The error wraps the system error.
func (w *Watcher) Add(path string, mask uint32) (int, error) {
	conn, err := w.file.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", path, err)
	}
	var watch int
	var watchErr error
	err = conn.Control(func(fd uintptr) { watch, watchErr = unix.InotifyAddWatch(int(fd), path, mask) })
	if err == nil {
		err = watchErr
	}
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", path, err)
	}
	return watch, nil
}

// Read waits for the next events and returns them in order. It returns the context's error as soon as ctx ends.
func (w *Watcher) Read(ctx context.Context) ([]Event, error) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = w.file.SetReadDeadline(time.Unix(1, 0)) // in the past: wakes the read
		close(interrupted)
	})
	var buffer [bufferSize]byte
	n, err := w.file.Read(buffer[:])
	if !stop() {
		<-interrupted
		_ = w.file.SetReadDeadline(time.Time{})
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("read inotify: %w", err)
	}
	return decode(buffer[:n])
}

// Close closes the instance and all its watches. A waiting Read returns an error.
func (w *Watcher) Close() error {
	return w.file.Close()
}
