package lock

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
)

const (
	// serviceEvents are those by which a lock goes: removed, renamed, given to another owner.
	serviceEvents = unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// appEvents are those by which a service's directory comes or goes.
	appEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// directly keeps a link from leading the watch elsewhere.
	directly = unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
)

// Wait returns nil once it is worth trying to take the locks of one of the apps again: it holds no
// user's lock, at once if so already, or some lock file in its directories was removed. It returns
// the context's error when ctx ends first, and another one when the kernel refuses to watch.
func (d *Dir) Wait(ctx context.Context, appIDs ...int) error {
	watcher, err := inotify.New()
	if err != nil {
		return err
	}
	defer watcher.Close()
	for {
		// first watch, then look, so that nothing is missed in between
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

// isRemoval reports whether a lock file went, or may have gone because the kernel dropped events.
func isRemoval(event inotify.Event) bool {
	if event.Mask&unix.IN_Q_OVERFLOW != 0 {
		return true
	}
	return event.Mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0 && slices.Contains(names[:], event.Name)
}

// watch adds the directories there are now; those watched before stay as they are.
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

// add passes over what is no directory any more.
func add(watcher *inotify.Watcher, path string, events uint32) error {
	_, err := watcher.Add(path, events|directly)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}
