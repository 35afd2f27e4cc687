package file

import (
	"fmt"
	"math"
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
	release, _ := hold(path) // FAT must not have its clusters free while the medium has its name
	defer release()
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
// and so on, up to 8, and gives that name. Later ones replace the eighth. Anything else in place of a
// file is set aside likewise.
func SetAside(path string) (string, error) {
	aside := freeName(path+".broken-", keptAside)
	fd := -1
	if f, err := Open(path); err == nil {
		defer f.Close()
		fd = int(f.Fd())
	}
	if err := move(fd, path, aside); err != nil {
		return "", fmt.Errorf("set aside %s: %w", path, err)
	}
	return aside, nil
}

// freeName is the first name that begins with start, goes on with a number and is free, or the last of so
// many.
func freeName(start string, last int) string {
	for n := 1; ; n++ {
		name := start + strconv.Itoa(n)
		if _, err := os.Lstat(name); n == last || os.IsNotExist(err) {
			return name
		}
	}
}

// Sweep removes the temporary files that a crash left in dir. Call it before the first Write
// there. What cannot be removed stays and does no harm.
func Sweep(dir string) {
	entries, _ := os.ReadDir(dir) // an unreadable directory has nothing to sweep
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if !entry.Type().IsRegular() || !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		if twin := twinOf(name, dir, entries); twin != "" {
			part(name, twin)
		} else {
			unlink(name)
		}
	}
}

// twinOf is the file that shares its clusters with a temporary file: on FAT, after a power cut between the
// two halves of a renaming, the one that has the same content (docs/spec/host.md 3.1).
func twinOf(tmp, dir string, entries []os.DirEntry) string {
	var fs unix.Statfs_t
	data, err := Read(tmp, Large)
	if unix.Statfs(dir, &fs) != nil || fs.Type != unix.MSDOS_SUPER_MAGIC || err != nil || len(data) == 0 {
		return ""
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if !strings.HasPrefix(entry.Name(), prefix) && holds(name, data) {
			return name
		}
	}
	return ""
}

// part gives a file clusters of its own. The two names that share the old ones must never be removed or
// replaced, since that frees what the other one leads to: both stay as path.twin-1 and so on. A kernel
// that cannot exchange two files of FAT (before 6.0) lets the file share them until the next Write.
func part(tmp, path string) {
	data, err := Read(path, Large)
	if err != nil {
		return
	}
	fd, own, err := writeTemporary(filepath.Dir(path), data, 0o644)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Renameat2(unix.AT_FDCWD, own, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE) != nil {
		unlink(own)
		own = tmp
	}
	for _, name := range [...]string{own, tmp} {
		_ = unix.Rename(name, freeName(path+".twin-", math.MaxInt))
	}
	_ = unix.Syncfs(fd)
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
