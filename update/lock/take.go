package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Take makes both lock files for every service, and missing directories. It keeps lock files of the supervisor from an
// earlier run. With force it removes user locks. Without force it checks all services for user locks before it makes
// the first file. After an error it releases all locks; the error is *HeldError if a user lock is the cause.
func (d *Dir) Take(appID int, services []string, force bool) error {
	err := d.take(appID, services, force)
	if err == nil {
		return nil
	}
	_ = d.Release(appID) // Leftovers lists files that cannot be removed now
	if held, ok := errors.AsType[*HeldError](err); ok {
		return held
	}
	return fmt.Errorf("take update lock of app %d: %w", appID, err)
}

func (d *Dir) take(appID int, services []string, force bool) error {
	for _, service := range services {
		if !isName(service) {
			return fmt.Errorf("service name %q is not a file name", service)
		}
	}
	if !force {
		if err := d.check(appID, services); err != nil {
			return err
		}
	}
	app, err := d.makeApp(appID)
	if err != nil {
		return err
	}
	defer app.Close()
	for _, service := range services {
		if err := d.takeService(app, appID, service, force); err != nil {
			return err
		}
	}
	return nil
}

// isName reports whether a service name is one path element.
func isName(service string) bool {
	return service != "" && service != "." && service != ".." && !strings.ContainsAny(service, "/\x00")
}

// check returns *HeldError if a service has a user lock.
func (d *Dir) check(appID int, services []string) error {
	app, err := d.openApp(appID)
	if err != nil || app == nil {
		return err
	}
	defer app.Close()
	for _, service := range services {
		dir, err := openDir(app, service)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		name := userLock(dir)
		_ = dir.Close()
		if name != "" {
			return d.held(appID, service, name)
		}
	}
	return nil
}

func (d *Dir) held(appID int, service, name string) *HeldError {
	return &HeldError{AppID: appID, Service: service, Path: filepath.Join(d.Path(appID, service), name)}
}

func (d *Dir) makeApp(appID int) (*os.File, error) {
	if err := os.MkdirAll(d.services(), 0o755); err != nil {
		return nil, err // names operation and path
	}
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return makeDir(root, strconv.Itoa(appID))
}

// takeService makes the missing lock files of one service.
func (d *Dir) takeService(app *os.File, appID int, service string, force bool) error {
	dir, err := makeDir(app, service)
	if err != nil {
		return err
	}
	defer dir.Close()
	// sticky and world-writable: any user of the container may make a lock, and only its owner may remove it
	if err := unix.Fchmod(int(dir.Fd()), unix.S_ISVTX|0o777); err != nil {
		return fmt.Errorf("set mode of %s: %w", dir.Name(), err)
	}
	for _, name := range names {
		taken, err := takeName(dir, name, force)
		if err != nil {
			return err
		}
		if !taken {
			return d.held(appID, service, name)
		}
	}
	return nil
}

// takeName makes one lock file. It returns false if a user lock has the name.
func takeName(dir *os.File, name string, force bool) (bool, error) {
	who, err := statEntry(dir, name)
	if err != nil {
		return false, err
	}
	switch {
	case who == supervisor:
		return true, nil
	case who == user && !force:
		return false, nil
	case who == user:
		removeAny(dir, name)
	}
	err = create(dir, name)
	if !errors.Is(err, unix.EEXIST) {
		return err == nil, err
	}
	who, err = statEntry(dir, name)
	return who == supervisor, err
}
