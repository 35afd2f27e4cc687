// Package backup lists the volumes in the archive that the migration of a device leaves, before it is unpacked. The
// archive is a tar file in any common format. The package reads one block at a time.
package backup

import (
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

const blockSize = 512

var errHeader = errors.New("not a tar archive, or a broken one")

// Names reads a tar archive to its end and returns its top-level names, which must be directories. It reads basic
// headers only. They hold the beginning of a long name, which is enough: a name that is cut before its first
// slash is too long for a volume. A file above 8 GiB whose size is in an extended header is an error.
func Names(in io.Reader) (names []string, err error) {
	var block [blockSize]byte
	for {
		if _, err := io.ReadFull(in, block[:]); err == io.EOF { // the end marker is missing
			return names, nil
		} else if err != nil {
			return nil, err
		}
		if block[0] == 0 { // read on, so that decompression verifies its checksum
			_, err := io.Copy(io.Discard, in)
			return names, err
		}
		size, kind := number(block[124:136]), block[156]
		if size < 0 || string(block[257:262]) != "ustar" {
			return nil, errHeader
		}
		name := cString(block[:100])
		if block[262] == 0 && block[345] != 0 { // POSIX only: GNU uses the field differently
			name = cString(block[345:500]) + "/" + name
		}
		switch kind {
		case 'x', 'L', 'K', 'g': // extended headers of the next entry
		default:
			if names, err = addTop(names, name, kind); err != nil {
				return nil, err
			}
			if kind >= '1' && kind <= '6' {
				size = 0 // links, devices and directories have no content, even if their size says so
			}
		}
		size = (size + blockSize - 1) &^ (blockSize - 1)
		if n, _ := io.CopyN(io.Discard, in, size); n < size {
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// addTop adds the top-level directory of an entry to names.
func addTop(names []string, name string, kind byte) ([]string, error) {
	clean := strings.TrimPrefix(path.Clean(name), "/")
	top, _, below := strings.Cut(clean, "/")
	switch {
	case kind == 'S':
		return nil, errors.New(clean + " is a sparse file in a format that the engine cannot unpack")
	case top == "..":
		return nil, errors.New(name + " leads out of the archive")
	case clean == "." || clean == "" || slices.Contains(names, top):
	case !below && kind != '5':
		return nil, errors.New(top + " is not a directory")
	default:
		names = append(names, top)
	}
	return names, nil
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// number parses a numeric field: octal digits, or a big-endian number for large values. It returns a negative number
// if the field is invalid.
func number(b []byte) (n int64) {
	bits := 3
	if b[0] == 0x80 {
		bits = 8
	}
	for i, x := range b {
		switch {
		case bits == 8 && i == 0 || bits == 3 && (x == ' ' || x == 0):
			continue
		case bits == 3 && x&^7 != '0' || n >= 1<<54:
			return -1
		}
		n = n<<bits | int64(x)&(1<<bits-1)
	}
	return n
}
