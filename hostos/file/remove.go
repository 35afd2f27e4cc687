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

// maxAside limits how many broken copies of one file are kept, so that they cannot fill the disk.
const maxAside = 8

// Remove deletes the file at path durably. A missing file is not an error.
func Remove(path string) error {
	release, _ := keepOpen(path) // on FAT, the clusters must stay in use until the name is gone from the disk
	defer release()
	err := retryEINTR(func() error { return unix.Unlink(path) })
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// SetAside durably renames a broken file to the first free name of path.broken-1, path.broken-2 and so on, up to 8, and
// returns that name. If none is free it replaces the eighth. It also renames directories and special files.
func SetAside(path string) (string, error) {
	aside := freeName(path+".broken-", maxAside)
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

// freeName returns the first unused name of start1, start2 and so on, or the last one if all are in use.
func freeName(start string, last int) string {
	for n := 1; ; n++ {
		name := start + strconv.Itoa(n)
		if _, err := os.Lstat(name); n == last || os.IsNotExist(err) {
			return name
		}
	}
}

// Sweep removes temporary files that a crash left in dir. Call it before the first Write there. Files that cannot be
// removed do no harm.
func Sweep(dir string) {
	entries, _ := os.ReadDir(dir) // an unreadable directory counts as empty
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if !entry.Type().IsRegular() || !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		if twin := sharingFile(name, dir, entries); twin != "" {
			separate(name, twin)
		} else {
			unlink(name)
		}
	}
}

// sharingFile returns the file that shares its clusters with a temporary file, empty if there is none. On FAT this happens
// when the power fails during a rename. The file has the same content (docs/spec/host.md 3.1).
func sharingFile(tmp, dir string, entries []os.DirEntry) string {
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

// separate gives a file its own clusters. The two names that share the old clusters must never be removed or replaced,
// because that would free clusters that the other one uses. Both are kept, as path.twin-1 and so on. A kernel before
// 6.0 cannot exchange two files on FAT; there the file shares its clusters until the next Write.
func separate(tmp, path string) {
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

// MakeDir makes a directory and its missing parents durably. An existing directory stays unchanged.
func MakeDir(path string, mode uint32) error {
	err := retryEINTR(func() error { return unix.Mkdir(path, mode) })
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

// makeParents makes the parent of path, then path. It refuses an empty path, whose parent would be ".".
func makeParents(path string, mode uint32) error {
	parent := filepath.Dir(path)
	if parent == path || path == "" {
		return fmt.Errorf("make directory %s: %w", path, unix.ENOENT)
	}
	if err := MakeDir(parent, mode); err != nil {
		return err
	}
	if err := retryEINTR(func() error { return unix.Mkdir(path, mode) }); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make directory %s: %w", path, err)
	}
	return syncDir(parent)
}
