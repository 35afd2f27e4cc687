// Package file writes, removes and sets aside single files so that a crash or a power cut leaves
// either the old or the new content, never a part of one. It is a leaf: only the standard library
// and system calls. It also works on FAT, where owners and modes do not exist.
package file

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prefix starts the name of every temporary file, so that Sweep knows what a crash left behind.
const prefix = ".resin-tmp-"

// Write replaces the content of path, or makes it, in one step and durably: temporary file in the
// same directory, write, fsync, rename, fsync (docs/spec/cloud.md 7.5). After an error the old content
// is still there, except when only an fsync after the renaming failed. A crash leaves at most one
// temporary file for Sweep. The mode is a wish: FAT ignores it. Errors wrap a unix.Errno.
func Write(path string, data []byte, mode uint32) error {
	fd, tmp, err := writeTemporary(filepath.Dir(path), data, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := move(fd, tmp, path); err != nil {
		unlink(tmp) // is not there when only an fsync failed
		return err
	}
	return nil
}

// move durably renames the file that is open as fd. It keeps a file that it replaces open until the end,
// and so its clusters taken: FAT writes where the content of a renamed file is at the fsync of the file,
// and until then the new name leads to the old clusters. The old name has to go before that, else both
// names lead to the same clusters after a power cut; but a new name without an old file comes first,
// since its file would be empty (docs/spec/host.md 3.1).
func move(fd int, from, to string) error {
	release, replaces := hold(to)
	defer release()
	if err := retry(func() error { return unix.Rename(from, to) }); err != nil {
		return fmt.Errorf("rename to %s: %w", to, err)
	}
	if !replaces {
		if err := flush(fd, to); err != nil {
			return err
		}
	}
	if err := syncDir(filepath.Dir(to)); err != nil || !replaces {
		return err
	}
	return flush(fd, to)
}

// hold keeps what is at path from being freed until release. There need not be anything.
func hold(path string) (release func(), there bool) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return func() { _ = unix.Close(fd) }, err == nil // closing nothing is an error that nobody looks at
}

// flush waits until a file or a directory is on the medium.
func flush(fd int, path string) error {
	if fd < 0 { // what is no regular file has nothing there
		return nil
	}
	if err := retry(func() error { return unix.Fsync(fd) }); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// WriteIfChanged is Write, except that a file that holds data already is left alone: flash memory
// wears. It reports whether it wrote. The mode of a file left alone is not looked at.
func WriteIfChanged(path string, data []byte, mode uint32) (changed bool, err error) {
	if holds(path, data) {
		return false, nil
	}
	if err := Write(path, data, mode); err != nil {
		return false, err
	}
	return true, nil
}

// holds reports whether path is a regular file with exactly this content. Doubt counts as no.
func holds(path string, data []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false
	}
	old, err := Read(path, len(data))
	return err == nil && bytes.Equal(old, data)
}

// writeTemporary makes a synced file with the content, open as fd; after an error there is no file. FAT
// knows which clusters are taken before the name leads to them: the fsync of the directory writes that.
func writeTemporary(dir string, data []byte, mode uint32) (fd int, tmp string, err error) {
	if fd, tmp, err = create(dir); err != nil {
		return fd, tmp, err
	}
	if err = fill(fd, data, mode); err == nil {
		err = syncDir(dir)
	}
	if err == nil {
		err = flush(fd, tmp)
	}
	if err != nil {
		_ = unix.Close(fd)
		unlink(tmp)
	}
	return fd, tmp, err
}

// create opens a new temporary file. O_TMPFILE would leave no debris, but FAT does not know it.
func create(dir string) (fd int, name string, err error) {
	for {
		name = filepath.Join(dir, prefix+word())
		err = retry(func() error {
			fd, err = unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
			return err
		})
		if err != unix.EEXIST {
			return fd, name, err
		}
	}
}

// word makes a name part that no earlier run has left behind.
func word() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails: the runtime ends the process when there is no randomness
	return hex.EncodeToString(b)
}

// fill writes all of data.
func fill(fd int, data []byte, mode uint32) error {
	if err := setMode(fd, mode); err != nil {
		return err
	}
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// setMode sets the mode where there is one: FAT answers EPERM, some network file systems ENOTSUP.
func setMode(fd int, mode uint32) error {
	err := retry(func() error { return unix.Fchmod(fd, mode) })
	if err == unix.EPERM || err == unix.ENOTSUP {
		return nil
	}
	return err
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	defer unix.Close(fd)
	// A file system that cannot sync a directory says EINVAL; there is nothing more to be had.
	if err = flush(fd, dir); errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// unlink removes a temporary file; what stays is found by Sweep.
func unlink(name string) { _ = Remove(name) }

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
