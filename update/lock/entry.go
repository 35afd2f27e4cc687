package lock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// owner is the id of the user nobody, who owns the supervisor's lock files.
const owner = 65534

// suffix ends the names of the supervisor's lock files and temporary files, so that it finds them again after a
// crash.
const suffix = "updates.lock"

// holder is who made an entry of a lock directory.
type holder int

const (
	nobody     holder = iota // there is no entry
	supervisor               // a regular file that belongs to owner
	user                     // anything else
)

// openDir opens a directory below parent without following a link.
func openDir(parent *os.File, name string) (*os.File, error) {
	path := filepath.Join(parent.Name(), name)
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeDir opens a directory below parent, and makes it if it is missing.
func makeDir(parent *os.File, name string) (*os.File, error) {
	err := unix.Mkdirat(int(parent.Fd()), name, 0o755)
	if err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("make %s: %w", filepath.Join(parent.Name(), name), err)
	}
	return openDir(parent, name)
}

// directories returns the sorted names of the directories in dir.
func directories(dir *os.File) ([]string, error) {
	list, err := dir.ReadDir(-1)
	var found []string
	for _, entry := range list {
		if entry.IsDir() {
			found = append(found, entry.Name())
		}
	}
	slices.Sort(found)
	return found, err
}

// statEntry returns who made an entry.
func statEntry(dir *os.File, name string) (holder, error) {
	var stat unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == unix.ENOENT:
		return nobody, nil
	case err != nil:
		return nobody, fmt.Errorf("stat %s: %w", filepath.Join(dir.Name(), name), err)
	case stat.Uid == owner && stat.Mode&unix.S_IFMT == unix.S_IFREG:
		return supervisor, nil
	}
	return user, nil
}

// userLock returns the name of the first user lock in dir, empty when there is none.
func userLock(dir *os.File) string {
	for _, name := range names {
		if who, _ := statEntry(dir, name); who == user {
			return name
		}
	}
	return ""
}

// ourLocks returns the names of the supervisor's files in dir. It reads the directory in portions, because the
// container may have put any number of files there.
func ourLocks(dir *os.File) ([]string, error) {
	var ours []string
	for {
		portion, err := dir.Readdirnames(256)
		for _, name := range portion {
			if !strings.HasSuffix(name, suffix) {
				continue
			}
			if who, _ := statEntry(dir, name); who == supervisor {
				ours = append(ours, name)
			}
		}
		if errors.Is(err, io.EOF) {
			return ours, nil
		}
		if err != nil {
			return ours, err
		}
	}
}

// removeOurs removes the supervisor's files from dir.
func removeOurs(dir *os.File) error {
	ours, err := ourLocks(dir)
	for _, name := range ours {
		removeErr := unix.Unlinkat(int(dir.Fd()), name, 0)
		if removeErr != nil && removeErr != unix.ENOENT && err == nil {
			err = fmt.Errorf("remove %s: %w", name, removeErr)
		}
	}
	return err
}

// removeAny removes any file or empty directory. On failure the name stays in use, which create reports.
func removeAny(dir *os.File, name string) {
	if unix.Unlinkat(int(dir.Fd()), name, 0) != nil {
		_ = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	}
}

// create atomically makes a file name that belongs to owner. The error wraps unix.EEXIST if the name exists. create
// sets the owner under a temporary name, then links the file by its descriptor: a container that replaces the
// temporary file cannot change what is linked.
func create(dir *os.File, name string) error {
	temporary := "." + rand.Text() + "." + suffix
	at := int(dir.Fd())
	fd, err := unix.Openat(at, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return fmt.Errorf("make %s: %w", filepath.Join(dir.Name(), temporary), err)
	}
	defer unix.Close(fd)
	defer unix.Unlinkat(at, temporary, 0)
	if err := unix.Fchown(fd, owner, -1); err != nil {
		return fmt.Errorf("give %s to uid %d: %w", filepath.Join(dir.Name(), temporary), owner, err)
	}
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), at, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return fmt.Errorf("link %s: %w", filepath.Join(dir.Name(), name), err)
	}
	return nil
}
