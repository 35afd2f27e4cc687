package engine

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const pageSize = 4 << 10 // bytes that are read at a time

// pages are shared by all that read: one has to have one only while there is something to read.
var pages = sync.Pool{New: func() any { return new([pageSize]byte) }}

// pour hands on what the chunks of the body carry, up to its end. Most outputs of containers are silent
// most of the time: while it waits it holds no buffer, and little of a stack.
func (a *answer) pour(write func([]byte) error) error {
	c := &chunks{to: write}
	raw, err := a.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	early, _ := a.in.Peek(a.in.Buffered())
	a.in, a.body = nil, nil
	if err := c.write(early); err != nil {
		return err
	}
	var page *[pageSize]byte
	var n int
	ready := func(fd uintptr) bool {
		page = pages.Get().(*[pageSize]byte)
		for err = unix.EINTR; err == unix.EINTR; {
			n, err = unix.Read(int(fd), page[:])
		}
		if err == unix.EAGAIN {
			pages.Put(page)
			return false
		}
		return true
	}
	for c.state != atEnd {
		if ended := raw.Read(ready); ended != nil {
			return ended
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			err = c.write(page[:n])
		}
		pages.Put(page)
		if err != nil {
			return err
		}
	}
	return nil
}

var errChunk = errors.New("unreadable chunk")

// chunks takes the chunked body of an answer apart as it arrives (RFC 9112 7.1) and passes on what it
// carries. Unlike a reader, it needs no buffer while there is nothing to read.
type chunks struct {
	to    func(p []byte) error
	state chunkState
	size  uint64 // of the present chunk; of its data still to come once its head is over
	line  int    // bytes of the present line
}

type chunkState int

const (
	inSize    chunkState = iota // hexadecimal digits
	inOptions                   // the rest of the line
	inData
	afterData // an end of line
	inTrailer // lines, of which an empty one is the last
	atEnd
)

// maxChunkLine bounds a line between chunks, in bytes.
const maxChunkLine = 4 << 10

// write takes the next part of the body. After an error the place is lost. What comes behind the end
// is ignored.
func (c *chunks) write(p []byte) error {
	for len(p) > 0 && c.state != atEnd {
		if c.state == inData {
			n := min(uint64(len(p)), c.size)
			if err := c.to(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			if c.size -= n; c.size == 0 {
				c.state = afterData
			}
			continue
		}
		if err := c.next(p[0]); err != nil {
			return err
		}
		p = p[1:]
	}
	return nil
}

// next takes one byte that is not data.
func (c *chunks) next(b byte) error {
	if c.line++; c.line > maxChunkLine {
		return errChunk
	}
	switch {
	case b == '\n':
		return c.endLine()
	case c.state == inSize:
		return c.digit(b)
	case c.state == afterData && b != '\r':
		return errChunk
	case c.state == inTrailer && b == '\r':
		c.line-- // alone it is an empty line
	}
	return nil
}

func (c *chunks) digit(b byte) error {
	digit, lower := uint64(b-'0'), b|0x20
	switch {
	case b >= '0' && b <= '9':
	case lower >= 'a' && lower <= 'f':
		digit = uint64(lower-'a') + 10
	case c.line > 1 && (b == '\r' || b == ';' || b == ' ' || b == '\t'):
		c.state = inOptions
		return nil
	default:
		return errChunk
	}
	if c.size>>59 != 0 {
		return errChunk
	}
	c.size = c.size<<4 | digit
	return nil
}

func (c *chunks) endLine() error {
	length := c.line
	c.line = 0
	switch {
	case c.state == afterData:
		c.state = inSize
	case c.state == inTrailer:
		if length == 1 {
			c.state = atEnd
		}
	case length == 1:
		return errChunk // no size
	case c.size == 0:
		c.state = inTrailer
	default:
		c.state = inData
	}
	return nil
}
