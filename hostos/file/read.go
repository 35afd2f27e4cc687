package file

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Limits of Read, in bytes.
const (
	Small = 1 << 20  // for what people and the host write, such as config.json
	Large = 64 << 20 // for durable documents, images and bundles of certificates
)

// ErrUnfit is why Open and Read refuse what is there but cannot be the file that is looked for.
var ErrUnfit = errors.New("unusable file")

// Open opens a regular file for reading. Of anything else, such as a FIFO or a device, it says so
// at once: it never waits for a writer. The error names the path and wraps the system error or
// ErrUnfit.
func Open(path string) (*os.File, error) {
	f, _, err := open(path)
	return f, err
}

func open(path string) (f *os.File, size int64, err error) {
	f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return nil, 0, err // names operation and path
	}
	if err == nil {
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() {
			return f, info.Size(), nil
		}
		_ = f.Close()
	}
	return nil, 0, fmt.Errorf("%w: %s is not a regular file", ErrUnfit, path) // a socket answers ENXIO
}

// Read gives the content of a regular file, which must be no larger than limit, in bytes. Files of
// /proc and /sys count as regular. The error is as that of Open.
func Read(path string, limit int) ([]byte, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, 0, min(size, int64(limit))+512)
	for size <= int64(limit) {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err // names operation and path
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		size = int64(len(data)) // that of a file of /proc is 0
	}
	return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrUnfit, path, limit)
}
