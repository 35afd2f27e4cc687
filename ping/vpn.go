// Package ping answers whether the device can reach its cloud: it watches the file that the VPN
// client leaves while connected and, while there is none, tries a TCP connection now and then.
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
	// gone tells that the watched directory is not where it was any more.
	gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT
	// entries tells that a file or directory came or went.
	entries = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
)

// VPN knows whether the host's VPN is connected (docs/spec/cloud.md 9.2).
type VPN struct {
	dir       string
	connected atomic.Bool
	mu        sync.Mutex
	followers []func()
}

// WatchVPN watches dir for the file named active until ctx ends, and calls changed, unless nil,
// after each later change, one call at a time. It makes dir; where it cannot, it waits for dir to
// appear. Should the kernel refuse to go on watching, the VPN counts as not connected from then on.
func WatchVPN(ctx context.Context, dir string, changed func(connected bool)) (*VPN, error) {
	v := &VPN{dir: dir}
	watcher, err := v.arm()
	if err != nil {
		return nil, err
	}
	v.connected.Store(v.active())
	if changed != nil {
		v.follow(func() { changed(v.Connected()) })
	}
	go v.run(ctx, watcher)
	return v, nil
}

// Connected reports whether the VPN is up.
func (v *VPN) Connected() bool {
	return v.connected.Load()
}

// follow calls f after each later change; f reads Connected.
func (v *VPN) follow(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.followers = append(v.followers, f)
}

func (v *VPN) run(ctx context.Context, watcher *armed) {
	for {
		events, err := watcher.Read(ctx)
		if err == nil && watcher.stale(events) {
			_ = watcher.Close()
			watcher, err = v.arm()
		}
		if ctx.Err() == nil {
			v.set(err == nil && v.active())
		}
		if err != nil {
			if watcher != nil {
				_ = watcher.Close()
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

// armed is an inotify instance that watches the directory itself or, while that does not exist, the
// nearest parent that does.
type armed struct {
	*inotify.Watcher
	parent bool
}

// stale reports whether the events ask for arming anew.
func (a *armed) stale(events []inotify.Event) bool {
	for _, event := range events {
		if a.parent || event.Mask&gone != 0 {
			return true
		}
	}
	return false
}

// arm watches the directory, which it makes if it can, else the nearest parent.
func (v *VPN) arm() (*armed, error) {
	_ = os.MkdirAll(v.dir, 0o755)
	watcher, err := inotify.New()
	if err != nil {
		return nil, err
	}
	for path := v.dir; ; {
		_, err = watcher.Add(path, entries|gone|unix.IN_ONLYDIR)
		switch parent := filepath.Dir(path); {
		case err == nil && path == v.dir:
			return &armed{Watcher: watcher}, nil
		case err == nil && os.MkdirAll(v.dir, 0o755) != nil:
			return &armed{Watcher: watcher, parent: true}, nil
		case err == nil: // what was in the way went before its parent was watched
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
