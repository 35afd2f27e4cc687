package file

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Limits of Read, in bytes.
const (
	Small = 1 << 20  // for files that people and the host write, such as config.json
	Large = 64 << 20 // for documents of the supervisor, images and certificate bundles
)

// ErrUnfit is the error of Open and Read for a path that is not a regular file, or a file that is too large.
var ErrUnfit = errors.New("unusable file")

// Open opens a regular file for reading. For anything else, such as a FIFO or a device, it returns an error at once
// instead of waiting for a writer. The error names the path and wraps the system error or ErrUnfit.
func Open(path string) (*os.File, error) {
	fd, _, err := open(path)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func open(path string) (fd int, size int64, err error) {
	err = retryEINTR(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil && err != unix.ENXIO {
		return -1, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err == nil {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			return fd, st.Size, nil
		}
		unix.Close(fd)
	}
	return -1, 0, fmt.Errorf("%w: %s is not a regular file", ErrUnfit, path) // a socket answers ENXIO
}

// Read returns the content of a regular file of at most limit bytes. Files of /proc and /sys count as regular. Reading
// one of them may fail, such as a sensor without a value. Read returns the same errors as Open.
func Read(path string, limit int) ([]byte, error) {
	fd, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, 0, min(size, int64(limit))+512)
	for size <= int64(limit) {
		n := 0
		err := retryEINTR(func() (err error) {
			n, err = unix.Read(fd, data[len(data):cap(data)])
			return err
		})
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		size = int64(len(data)) // the size of a file in /proc is 0
	}
	return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrUnfit, path, limit)
}
