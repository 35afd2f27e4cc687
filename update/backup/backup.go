// Package backup looks into the archive of volumes that the migration of a device leaves, a tar file
// in any of its common forms, to tell what is in it before anything is unpacked. It holds one block at
// a time.
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

// Names reads a tar archive to its end and returns the names at its top. All of them are directories.
// The plain headers are enough for that: of a long name the beginning is there, and what is cut before
// its first slash is no name of a volume. A size that only an extended header has room for, of a file of
// more than 8 GiB, makes the archive a broken one.
func Names(in io.Reader) (names []string, err error) {
	var block [blockSize]byte
	for {
		if _, err := io.ReadFull(in, block[:]); err == io.EOF { // without the blocks that mark the end
			return names, nil
		} else if err != nil {
			return nil, err
		}
		if block[0] == 0 { // what comes after the end may be the checksum of the compression
			_, err := io.Copy(io.Discard, in)
			return names, err
		}
		size, kind := number(block[124:136]), block[156]
		if size < 0 || string(block[257:262]) != "ustar" {
			return nil, errHeader
		}
		name := cString(block[:100])
		if block[262] == 0 && block[345] != 0 { // POSIX; GNU has other things there
			name = cString(block[345:500]) + "/" + name
		}
		switch kind {
		case 'x', 'L', 'K', 'g': // more of the entry after it
		default:
			if names, err = note(names, name, kind); err != nil {
				return nil, err
			}
			if kind >= '1' && kind <= '6' {
				size = 0 // links, devices and directories have no content, whatever they say
			}
		}
		size = (size + blockSize - 1) &^ (blockSize - 1)
		if n, _ := io.CopyN(io.Discard, in, size); n < size {
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// note adds the top of an entry's name.
func note(names []string, name string, kind byte) ([]string, error) {
	clean := strings.TrimPrefix(path.Clean(name), "/")
	top, _, below := strings.Cut(clean, "/")
	switch {
	case kind == 'S':
		return nil, errors.New(clean + " is a sparse file of the kind that engines do not unpack")
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

// number reads a numeric field: octal digits, or big-endian binary when they are too few. It is
// negative when the field holds no size.
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
