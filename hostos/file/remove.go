package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// keptAside bounds how many broken copies of one file stay: a file that breaks again and again
// must not fill the disk. The last one is overwritten.
const keptAside = 8

// Remove deletes the file at path durably. An absent file is success.
func Remove(path string) error {
	err := retry(func() error { return unix.Unlink(path) })
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// SetAside durably renames a broken file to the first free name of path.broken-1, path.broken-2
// and so on, up to 8, and gives that name. Later ones replace the eighth.
func SetAside(path string) (string, error) {
	aside := asideName(path)
	err := retry(func() error { return unix.Rename(path, aside) })
	if err != nil {
		return "", fmt.Errorf("set aside %s: %w", path, err)
	}
	return aside, syncDir(filepath.Dir(path))
}

func asideName(path string) string {
	for n := 1; ; n++ {
		name := path + ".broken-" + strconv.Itoa(n)
		if _, err := os.Lstat(name); n == keptAside || os.IsNotExist(err) {
			return name
		}
	}
}

// Sweep removes the temporary files that a crash left in dir. Call it before the first Write
// there. What cannot be removed stays and does no harm.
func Sweep(dir string) {
	entries, _ := os.ReadDir(dir) // an unreadable directory has nothing to sweep
	for _, entry := range entries {
		if entry.Type().IsRegular() && strings.HasPrefix(entry.Name(), prefix) {
			unlink(filepath.Join(dir, entry.Name()))
		}
	}
}

// MakeDir makes a directory and its missing parents durably. An existing one is left as it is.
func MakeDir(path string, mode uint32) error {
	err := retry(func() error { return unix.Mkdir(path, mode) })
	switch err {
	case nil:
		return syncDir(filepath.Dir(path))
	case unix.ENOENT:
		return makeParents(path, mode)
	case unix.EEXIST:
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return nil
		}
	}
	return fmt.Errorf("make directory %s: %w", path, err)
}

// makeParents makes the parent of path, then path. An empty path ends here: its parent is ".".
func makeParents(path string, mode uint32) error {
	parent := filepath.Dir(path)
	if parent == path || path == "" {
		return fmt.Errorf("make directory %s: %w", path, unix.ENOENT)
	}
	if err := MakeDir(parent, mode); err != nil {
		return err
	}
	if err := retry(func() error { return unix.Mkdir(path, mode) }); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make directory %s: %w", path, err)
	}
	return syncDir(parent)
}
