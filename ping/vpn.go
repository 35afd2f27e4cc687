// Package ping finds out whether the device can reach its cloud. It watches the file that the VPN client keeps while it
// is connected. While there is none, it probes the cloud API with TCP connections.
package ping

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
)

const (
	// gone are the events after which the watched directory is not at its path any more.
	gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT
	// entries are the events for a new or removed file or directory.
	entries = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
)

// VPN knows whether the host's VPN is connected (docs/spec/cloud.md 9.2).
type VPN struct {
	dir       string
	connected atomic.Bool
	mu        sync.Mutex
	followers []func()
}

// WatchVPN watches dir for the file named active until ctx ends. It calls changed, unless it is nil, after each later
// change, one call at a time. It creates dir or, if it cannot, waits for dir to appear. If the kernel refuses a new watch
// later, the VPN counts as not connected from then on.
func WatchVPN(ctx context.Context, dir string, changed func(connected bool)) (*VPN, error) {
	v := &VPN{dir: dir}
	watch, err := v.newWatch()
	if err != nil {
		return nil, err
	}
	v.connected.Store(v.active())
	if changed != nil {
		v.follow(func() { changed(v.Connected()) })
	}
	go v.run(ctx, watch)
	return v, nil
}

// Connected reports whether the VPN is up.
func (v *VPN) Connected() bool {
	return v.connected.Load()
}

// follow registers f, which is called after each later change.
func (v *VPN) follow(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.followers = append(v.followers, f)
}

func (v *VPN) run(ctx context.Context, w *watch) {
	for {
		events, err := w.Read(ctx)
		if err == nil && w.isStale(events) {
			_ = w.Close()
			w, err = v.newWatch()
		}
		if ctx.Err() == nil {
			v.set(err == nil && v.active())
		}
		if err != nil {
			if w != nil {
				_ = w.Close()
			}
			return
		}
	}
}

func (v *VPN) active() bool {
	_, err := os.Stat(filepath.Join(v.dir, "active"))
	return err == nil
}

func (v *VPN) set(connected bool) {
	if v.connected.Swap(connected) == connected {
		return
	}
	v.mu.Lock()
	followers := v.followers
	v.mu.Unlock()
	for _, f := range followers {
		f()
	}
}

// watch is an inotify instance that watches the directory or, while that does not exist, the nearest parent that does.
type watch struct {
	*inotify.Watcher
	parent bool
}

// isStale reports whether a new watch is needed after the events.
func (w *watch) isStale(events []inotify.Event) bool {
	for _, event := range events {
		if w.parent || event.Mask&gone != 0 {
			return true
		}
	}
	return false
}

// newWatch creates the directory and watches it or, if it cannot, watches the nearest parent.
func (v *VPN) newWatch() (*watch, error) {
	_ = os.MkdirAll(v.dir, 0o755)
	watcher, err := inotify.New()
	if err != nil {
		return nil, err
	}
	for path := v.dir; ; {
		_, err = watcher.Add(path, entries|gone|unix.IN_ONLYDIR)
		switch parent := filepath.Dir(path); {
		case err == nil && path == v.dir:
			return &watch{Watcher: watcher}, nil
		case err == nil && os.MkdirAll(v.dir, 0o755) != nil:
			return &watch{Watcher: watcher, parent: true}, nil
		case err == nil: // the obstacle went away before the watch of its parent began
			path = v.dir
		case isAbsent(err) && parent != path:
			path = parent
		default:
			_ = watcher.Close()
			return nil, fmt.Errorf("watch the VPN status: %w", err)
		}
	}
}

func isAbsent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}
