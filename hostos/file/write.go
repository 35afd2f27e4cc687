// Package file writes, removes and sets aside single files so that a crash or a power cut leaves
// either the old or the new content, never a part of one. It is a leaf: only the standard library
// and system calls. It also works on FAT, where owners and modes do not exist.
package file

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prefix starts the name of every temporary file, so that Sweep knows what a crash left behind.
const prefix = ".resin-tmp-"

// Write replaces the content of path, or makes it, in one step and durably: temporary file in the
// same directory, write, fsync, rename, fsync of the directory (docs/spec/cloud.md 7.5). After an error
// the old content is still there, except when only the last fsync failed. A crash leaves at most
// one temporary file for Sweep. The mode is a wish: FAT ignores it. Errors wrap a unix.Errno.
func Write(path string, data []byte, mode uint32) error {
	dir := filepath.Dir(path)
	tmp, err := writeTemporary(dir, data, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = retry(func() error { return unix.Rename(tmp, path) })
	if err != nil {
		unlink(tmp)
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	return syncDir(dir)
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

// writeTemporary makes a synced file with the content and gives its name; after an error there is
// no file.
func writeTemporary(dir string, data []byte, mode uint32) (string, error) {
	fd, tmp, err := create(dir)
	if err != nil {
		return "", err
	}
	err = fill(fd, data, mode)
	if closeErr := unix.Close(fd); err == nil && closeErr != unix.EINTR {
		err = closeErr
	}
	if err != nil {
		unlink(tmp)
		return "", err
	}
	return tmp, nil
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

// fill writes all of data and waits until it is on the medium.
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
	return retry(func() error { return unix.Fsync(fd) })
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
	err = retry(func() error { return unix.Fsync(fd) })
	// A file system that cannot sync a directory says EINVAL; there is nothing more to be had.
	if err != nil && err != unix.EINVAL {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// unlink removes a temporary file; what stays is found by Sweep.
func unlink(name string) {
	retry(func() error { return unix.Unlink(name) })
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
