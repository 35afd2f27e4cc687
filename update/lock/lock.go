// Package lock handles update locks (docs/spec/engine.md 7). With a lock file an app forbids updates, and the
// supervisor announces one. Each service has a directory for its lock files, which its container can write. So
// this package trusts no content of the directory and follows no link.
package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// names are the lock files of a service. Either one locks the service; the supervisor makes both.
var names = [...]string{"updates.lock", "resin-updates.lock"}

// HeldError means that a user lock blocks the update of the app.
type HeldError struct {
	AppID   int
	Service string
	Path    string // of the lock file
}

// Error returns the message for API clients (docs/spec/device-api.md 1.9 S11).
func (e *HeldError) Error() string {
	return fmt.Sprintf("Lockfile exists for { appId: %d, service: %s }", e.AppID, e.Service)
}

// Dir is the directory of all update locks. It has no state in memory; only the files count. Calls for different apps
// may overlap, but Take and Release of one app must not.
type Dir struct {
	tmp string
}

// New returns the locks of the host whose root directory is mounted at root.
func New(root string) *Dir {
	return &Dir{tmp: filepath.Join(root, "tmp")}
}

// Prepare makes the directory balena-supervisor, or a link with this name if the host has only resin-supervisor. It
// replaces an absolute link, which would lead out of a mounted root, by a relative one. Call it once, before all
// other methods.
func (d *Dir) Prepare() error {
	const target = "resin-supervisor"
	name := filepath.Join(d.tmp, "balena-supervisor")
	link, err := os.Readlink(name)
	if err == nil && link == "/tmp/"+target {
		err = os.Remove(name)
	} else if _, err := os.Lstat(name); err == nil {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // names operation and path
	}
	if _, err := os.Lstat(filepath.Join(d.tmp, target)); err == nil {
		return os.Symlink(target, name)
	}
	if err = os.Mkdir(name, 0o755); errors.Is(err, fs.ErrNotExist) {
		return nil // the host has no tmp directory, so no service uses locks
	}
	return err
}

// Services returns the sorted names of the app's services that have a directory. It returns none without an error if
// the app has no directory.
func (d *Dir) Services(appID int) ([]string, error) {
	app, err := d.openApp(appID)
	if err != nil || app == nil {
		return nil, err
	}
	defer app.Close()
	return directories(app)
}

// UserLock returns the first service, by name, that has a user lock. It ignores unreadable directories, for which
// Take returns an error.
func (d *Dir) UserLock(appID int) (service string, held bool) {
	_ = d.each(appID, func(name string, dir *os.File) error {
		if !held && userLock(dir) != "" {
			service, held = name, true
		}
		return nil
	})
	return service, held
}

// Leftovers returns the sorted ids of the apps that have lock files of the supervisor. At the start these are from an
// earlier run; later they include the locks that are held.
func (d *Dir) Leftovers() ([]int, error) {
	ids, err := d.Apps()
	return slices.DeleteFunc(ids, func(id int) bool { return !d.hasOurs(id) }), err
}

// Apps returns the sorted ids of the apps that have a directory for locks.
func (d *Dir) Apps() ([]int, error) {
	root, err := d.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err // names operation and path
	}
	defer root.Close()
	apps, err := directories(root)
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, app := range apps {
		if id, err := strconv.Atoi(app); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (d *Dir) hasOurs(appID int) (found bool) {
	_ = d.each(appID, func(_ string, dir *os.File) error {
		ours, err := ourLocks(dir)
		found = found || len(ours) > 0
		return err
	})
	return found
}

// Release removes the supervisor's lock files from the app's directories. It continues after an error and returns the
// first one.
func (d *Dir) Release(appID int) error {
	var first error
	err := d.each(appID, func(service string, dir *os.File) error {
		if err := removeOurs(dir); err != nil && first == nil {
			first = fmt.Errorf("release update lock of app %d service %s: %w", appID, service, err)
		}
		return nil
	})
	if first != nil {
		return first
	}
	return err
}

// services returns the directory that holds one directory per app.
func (d *Dir) services() string {
	return filepath.Join(d.tmp, "balena-supervisor", "services")
}

// open opens the directory services. If it is something else, such as a FIFO, open returns an error at once.
func (d *Dir) open() (*os.File, error) {
	return os.OpenFile(d.services(), os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// openApp opens the app's directory. It returns nil without an error if there is none.
func (d *Dir) openApp(appID int) (*os.File, error) {
	root, err := d.open()
	if err == nil {
		defer root.Close()
		var app *os.File
		if app, err = openDir(root, strconv.Itoa(appID)); err == nil {
			return app, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

// each calls f for the directory of every service of the app, by name, until f fails. It skips directories that it
// cannot open.
func (d *Dir) each(appID int, f func(service string, dir *os.File) error) error {
	app, err := d.openApp(appID)
	if err != nil || app == nil {
		return err
	}
	defer app.Close()
	services, err := directories(app)
	if err != nil {
		return err
	}
	for _, service := range services {
		dir, err := openDir(app, service)
		if err != nil {
			continue
		}
		err = f(service, dir)
		_ = dir.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
