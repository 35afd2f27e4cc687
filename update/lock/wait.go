package lock

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
)

const (
	// serviceEvents are the events of a lock that goes away: it is removed, renamed or changes its owner.
	serviceEvents = unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// appEvents are the events of a service's directory that appears or goes away.
	appEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// directly refuses links, which could lead the watch to another directory.
	directly = unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
)

// Wait returns nil when taking the locks of one of the apps may succeed: the app has no user lock, or one of its lock
// files was removed. It returns at once if that is already so. It returns the context's error if ctx ends first,
// or an error of inotify.
func (d *Dir) Wait(ctx context.Context, appIDs ...int) error {
	watcher, err := inotify.New()
	if err != nil {
		return err
	}
	defer watcher.Close()
	for {
		// watch before checking, so that no change between the two is missed
		if err := d.watch(watcher, appIDs); err != nil {
			return err
		}
		if slices.ContainsFunc(appIDs, d.isFree) {
			return nil
		}
		events, err := watcher.Read(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(events, isRemoval) {
			return nil
		}
	}
}

func (d *Dir) isFree(appID int) bool {
	_, held := d.UserLock(appID)
	return !held
}

// isRemoval reports whether a lock file was removed, or may have been because the kernel dropped events.
func isRemoval(event inotify.Event) bool {
	if event.Mask&unix.IN_Q_OVERFLOW != 0 {
		return true
	}
	return event.Mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0 && slices.Contains(names[:], event.Name)
}

// watch adds all directories of the apps to the watcher. Adding a directory twice is harmless.
func (d *Dir) watch(watcher *inotify.Watcher, appIDs []int) error {
	for _, id := range appIDs {
		if err := add(watcher, d.Path(id, ""), appEvents); err != nil {
			return err
		}
		services, err := d.Services(id)
		if err != nil {
			return err
		}
		for _, service := range services {
			if err := add(watcher, d.Path(id, service), serviceEvents); err != nil {
				return err
			}
		}
	}
	return nil
}

// add watches a directory. It ignores one that no longer exists.
func add(watcher *inotify.Watcher, path string, events uint32) error {
	_, err := watcher.Add(path, events|directly)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}
