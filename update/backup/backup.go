// Package backup looks into the archive of volumes that the migration of a device leaves, a tar file
// in any of its common forms, to tell what is in it before anything is unpacked. It holds one block
// and one long name at a time.
package backup

import (
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	blockSize = 512
	maxRecord = 1 << 20 // bytes of a long name or of extended headers
)

var errHeader = errors.New("not a tar archive, or a broken one")

// Names reads a tar archive to its end and returns the names at its top, sorted. All of them are
// directories.
func Names(in io.Reader) ([]string, error) {
	r := reader{in: in}
	for {
		err := r.entry()
		if err == io.EOF {
			slices.Sort(r.names)
			return r.names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

type reader struct {
	in    io.Reader
	block [blockSize]byte
	names []string
	// What headers before an entry say of it; size is -1 when they say nothing of it.
	name string
	size int64
}

// entry reads one entry with the headers before it; io.EOF is the end of the archive.
func (r *reader) entry() error {
	r.name, r.size = "", -1
	for {
		if _, err := io.ReadFull(r.in, r.block[:]); err != nil {
			return err // io.EOF: without the blocks that mark the end
		}
		if r.block[0] == 0 { // what comes after the end may be the checksum of the compression
			if _, err := io.Copy(io.Discard, r.in); err != nil {
				return err
			}
			return io.EOF
		}
		size, kind := number(r.block[124:136]), r.block[156]
		if size < 0 || string(r.block[257:262]) != "ustar" {
			return errHeader
		}
		if strings.IndexByte("LKxg", kind) < 0 {
			return r.content(kind, size)
		}
		if err := r.record(kind, size); err != nil {
			return err
		}
	}
}

// record reads a header that says something of the next entry: its name in GNU's way, or the extended
// headers of POSIX.
func (r *reader) record(kind byte, size int64) error {
	if size > maxRecord {
		return errHeader
	}
	text := make([]byte, padded(size))
	if _, err := io.ReadFull(r.in, text); err != nil {
		return io.ErrUnexpectedEOF
	}
	switch kind {
	case 'L':
		r.name = cString(text)
	case 'x':
		return r.extended(string(text[:size]))
	}
	return nil
}

// extended takes what counts of extended headers, lines of their own length, key and value.
func (r *reader) extended(text string) error {
	for text != "" {
		digits, _, _ := strings.Cut(text, " ")
		n, _ := strconv.Atoi(digits)
		if n < len(digits)+2 || n > len(text) {
			return errHeader
		}
		key, value, _ := strings.Cut(text[len(digits)+1:n-1], "=")
		text = text[n:]
		switch key {
		case "path", "GNU.sparse.name":
			r.name = value
		case "size":
			if r.size, _ = strconv.ParseInt(value, 10, 64); r.size < 0 || r.size >= 1<<62 {
				return errHeader
			}
		}
	}
	return nil
}

// content reads an entry itself.
func (r *reader) content(kind byte, size int64) error {
	if r.name == "" {
		r.name = cString(r.block[:100])
		if r.block[262] == 0 { // POSIX; GNU has other things there
			r.name = cString(r.block[345:500]) + "/" + r.name
		}
	}
	switch kind {
	case '1', '2', '3', '4', '5', '6':
		size = 0 // links, devices and directories have no content, whatever they say
	case 'S':
		return errors.New(r.name + " is a sparse file of the kind that engines do not unpack")
	default:
		if r.size >= 0 {
			size = r.size
		}
	}
	if err := r.note(kind == '5'); err != nil {
		return err
	}
	if n, err := io.CopyN(io.Discard, r.in, padded(size)); n < padded(size) {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// note takes the name of an entry.
func (r *reader) note(dir bool) error {
	name := strings.TrimPrefix(path.Clean(r.name), "/")
	top, _, below := strings.Cut(name, "/")
	switch {
	case top == "..":
		return errors.New(r.name + " leads out of the archive")
	case name == "." || name == "":
	case !below && !dir:
		return errors.New(top + " is not a directory")
	case !slices.Contains(r.names, top):
		r.names = append(r.names, top)
	}
	return nil
}

// padded is a size in whole blocks.
func padded(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// number reads a numeric field: octal digits, or big-endian binary when they are too few. It is
// negative when the field holds no size.
func number(b []byte) int64 {
	n := int64(0)
	if b[0] == 0x80 {
		for _, x := range b[1:] {
			if n >= 1<<54 {
				return -1
			}
			n = n<<8 | int64(x)
		}
		return n
	}
	for _, x := range strings.Trim(string(b), " \x00") {
		if x < '0' || x > '7' {
			return -1
		}
		n = n<<3 | int64(x-'0')
	}
	return n
}
