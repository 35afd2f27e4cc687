// Package file writes, removes and sets aside single files atomically: a crash or power cut leaves either the old or the
// new content. It also works on FAT, which has no owners and modes. It is a leaf.
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

// prefix starts the name of every temporary file, so that Sweep can find them after a crash.
const prefix = ".resin-tmp-"

// Write makes or replaces the file at path atomically and durably. It writes a temporary file in the same directory,
// syncs it, renames it and syncs again (docs/spec/cloud.md 7.5). After an error the old content is still there, unless
// only the sync after the rename failed. A crash leaves at most one temporary file for Sweep. FAT ignores the mode.
// Errors wrap a unix.Errno.
func Write(path string, data []byte, mode uint32) error {
	fd, tmp, err := writeTemporary(filepath.Dir(path), data, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := move(fd, tmp, path); err != nil {
		unlink(tmp) // already gone if only an fsync failed
		return err
	}
	return nil
}

// move durably renames the file that is open as fd. The order of the syncs protects files on FAT
// (docs/spec/host.md 3.1):
//
//   - FAT stores the position of the content at the fsync of the file. Until then the new name leads to the clusters of
//     the replaced file. So move keeps the replaced file open, and its clusters in use, until the end.
//   - When a file is replaced, the directory is synced first. Otherwise both names could lead to the same clusters after
//     a power cut.
//   - When no file is replaced, the file is synced first. Otherwise it would be empty after a power cut.
func move(fd int, from, to string) error {
	release, replaces := keepOpen(to)
	defer release()
	if err := retryEINTR(func() error { return unix.Rename(from, to) }); err != nil {
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

// keepOpen opens the file at path, so that its clusters stay in use until release. there is false if it does not exist.
func keepOpen(path string) (release func(), there bool) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return func() { _ = unix.Close(fd) }, err == nil
}

// flush waits until a file or directory is on the disk.
func flush(fd int, path string) error {
	if fd < 0 { // not a regular file
		return nil
	}
	if err := retryEINTR(func() error { return unix.Fsync(fd) }); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// WriteIfChanged is Write, but does not write a file that has this content already, to save flash memory. It reports
// whether it wrote. It does not compare modes.
func WriteIfChanged(path string, data []byte, mode uint32) (changed bool, err error) {
	if holds(path, data) {
		return false, nil
	}
	if err := Write(path, data, mode); err != nil {
		return false, err
	}
	return true, nil
}

// holds reports whether path is a regular file with exactly this content. It returns false after an error.
func holds(path string, data []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false
	}
	old, err := Read(path, len(data))
	return err == nil && bytes.Equal(old, data)
}

// writeTemporary makes a temporary file with the content, syncs it and returns it open as fd. After an error there is no
// file. It syncs the directory before the file, so that FAT marks the clusters as used before a name leads to them.
func writeTemporary(dir string, data []byte, mode uint32) (fd int, tmp string, err error) {
	if fd, tmp, err = create(dir); err != nil {
		return fd, tmp, err
	}
	if err = writeAll(fd, data, mode); err == nil {
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

// create opens a new temporary file. It does not use O_TMPFILE, which FAT does not support.
func create(dir string) (fd int, name string, err error) {
	for {
		name = filepath.Join(dir, prefix+randomName())
		err = retryEINTR(func() error {
			fd, err = unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
			return err
		})
		if err != unix.EEXIST {
			return fd, name, err
		}
	}
}

// randomName returns a random part of a file name.
func randomName() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails: the runtime ends the process when there is no randomness
	return hex.EncodeToString(b)
}

// writeAll sets the mode and writes all of data.
func writeAll(fd int, data []byte, mode uint32) error {
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

// setMode sets the mode if the file system supports it. FAT returns EPERM, some network file systems ENOTSUP.
func setMode(fd int, mode uint32) error {
	err := retryEINTR(func() error { return unix.Fchmod(fd, mode) })
	if err == unix.EPERM || err == unix.ENOTSUP {
		return nil
	}
	return err
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	var fd int
	err := retryEINTR(func() (err error) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	defer unix.Close(fd)
	// EINVAL: this file system cannot sync a directory
	if err = flush(fd, dir); errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// unlink removes a temporary file. On failure Sweep removes it later.
func unlink(name string) { _ = Remove(name) }

// retryEINTR repeats a system call until no signal interrupts it.
func retryEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
