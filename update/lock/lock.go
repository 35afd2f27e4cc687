// Package lock handles update locks: files by which an app says "do not touch me now", and by which
// the supervisor says "I am updating you" (docs/spec/engine.md 7). They lie in a directory per service
// that the service's container owns, so nothing found there is trusted and no link is followed.
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

// names are the lock files of a service: either blocks, and the supervisor makes both.
var names = [...]string{"updates.lock", "resin-updates.lock"}

// HeldError says that a lock made by a user keeps the app from being touched.
type HeldError struct {
	AppID   int
	Service string
	Path    string // of the lock file
}

// Error is the message for the client (docs/spec/device-api.md 1.9 S11).
func (e *HeldError) Error() string {
	return fmt.Sprintf("Lockfile exists for { appId: %d, service: %s }", e.AppID, e.Service)
}

// Dir is the directory of all update locks. It keeps nothing in memory: the files are the truth.
// Calls for different apps may overlap; Take and Release for one app must not.
type Dir struct {
	tmp string
}

// New returns the locks of the host whose root directory is mounted at root.
func New(root string) *Dir {
	return &Dir{tmp: filepath.Join(root, "tmp")}
}

// Prepare makes the directory balena-supervisor, or a link to resin-supervisor on a host that has only
// the latter. Call it once, before anything else. An absolute link, which would lead out of a mounted
// root, is made a relative one.
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
		return nil // the host has no such tmp: nobody there looks for locks
	}
	return err
}

// Services lists the services that have a directory under the app, sorted: those that an action
// outside the planner locks. None is no error.
func (d *Dir) Services(appID int) ([]string, error) {
	app, err := d.openApp(appID)
	if err != nil || app == nil {
		return nil, err
	}
	defer app.Close()
	return directories(app)
}

// UserLock returns the first service, by name, that holds a user's lock. What cannot be read holds
// none: Take will say why.
func (d *Dir) UserLock(appID int) (service string, held bool) {
	_ = d.each(appID, func(name string, dir *os.File) error {
		if !held && userLock(dir) != "" {
			service, held = name, true
		}
		return nil
	})
	return service, held
}

// Leftovers lists the apps, by id, for which there are lock files of the supervisor: after a start
// those that an earlier run left behind, later also those held.
func (d *Dir) Leftovers() ([]int, error) {
	ids, err := d.Apps()
	return slices.DeleteFunc(ids, func(id int) bool { return !d.hasOurs(id) }), err
}

// Apps lists the apps, by id, that have a directory for locks.
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

// Release removes all lock files of the supervisor from the app's directories, and no others. It
// goes on after an error and returns the first.
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

// services is the directory that holds one directory per app.
func (d *Dir) services() string {
	return filepath.Join(d.tmp, "balena-supervisor", "services")
}

// open opens that directory. Anything else in its place, such as a FIFO, is an error at once.
func (d *Dir) open() (*os.File, error) {
	return os.OpenFile(d.services(), os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// openApp opens the app's directory; nil without an error means that there is none.
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

// each calls f for the directory of every service of the app, by name, until f fails. A directory
// that went away or is none is passed over.
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
