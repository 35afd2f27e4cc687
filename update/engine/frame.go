package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

const (
	maxLine  = 16 << 10 // bytes of text; the engine itself splits longer lines here
	maxStamp = 36       // bytes of a timestamp and the space after it
)

var errFrame = errors.New("unreadable log frame")

// lines splits output into lines. The engine splits a long line into pieces. Each line and each piece begins with a
// timestamp and a space.
type lines struct {
	fn      func(LogLine)
	stderr  bool
	buf     []byte    // the current line: first the timestamp, then the text
	stamped bool      // buf begins with the text: the timestamp, if there was one, is in at
	at      time.Time // of the current line
	rest    bool      // fn got the beginning of the current line as a piece
}

// write takes the next part of the output. It never fails.
func (l *lines) write(p []byte) error {
	for len(p) > 0 {
		part := p[:min(len(p), l.room())]
		end := bytes.IndexByte(part, '\n')
		if end >= 0 {
			part = part[:end]
		}
		l.buf = append(l.buf, part...)
		p = p[len(part):]
		switch {
		case end >= 0:
			p = p[1:]
			l.finish()
		case l.room() > 0:
		case l.stamped:
			l.piece()
		default:
			l.stamp()
		}
	}
	return nil
}

// end passes on a last line that has no line end.
func (l *lines) end() (string, error) {
	l.piece()
	return "", nil
}

// room is how many bytes fit into buf: up to the longest timestamp, then up to the longest piece.
func (l *lines) room() int {
	if l.stamped {
		return maxLine - len(l.buf)
	}
	return maxStamp - len(l.buf)
}

// stamp moves the timestamp from buf to at.
func (l *lines) stamp() {
	l.stamped = true
	first, text, ok := bytes.Cut(l.buf, []byte{' '})
	if !ok {
		return
	}
	if at, err := time.Parse(time.RFC3339Nano, string(first)); err == nil {
		l.at = at
		l.buf = l.buf[:copy(l.buf, text)]
	}
}

// finish passes on the current line, whose end is reached. If only the line end came after a piece, there is no line.
func (l *lines) finish() {
	if !l.stamped {
		l.stamp()
	}
	if text := bytes.TrimSuffix(l.buf, []byte{'\r'}); len(text) > 0 || !l.rest {
		l.fn(LogLine{Stderr: l.stderr, At: l.at, Text: text, Rest: l.rest})
	}
	l.reset(false)
}

// piece passes on the part of the current line that is there, if any.
func (l *lines) piece() {
	if len(l.buf) == 0 && !l.stamped {
		return
	}
	if !l.stamped {
		l.stamp()
	}
	if len(l.buf) > 0 {
		l.fn(LogLine{Stderr: l.stderr, At: l.at, Text: l.buf, Rest: l.rest})
	}
	l.reset(true)
}

func (l *lines) reset(rest bool) {
	l.buf, l.stamped, l.at, l.rest = l.buf[:0], false, time.Time{}, rest
}

// frames decodes the output of a container without a terminal. A frame has a head of 8 bytes (output number, three zero
// bytes, payload length in big-endian order) and a payload of one line or piece.
type frames struct {
	stdout, stderr lines
	fault          []byte // the engine's own error message
	head           [8]byte
	have           int    // bytes of the head that arrived
	left           uint32 // bytes of the payload that are missing
}

func newFrames(fn func(LogLine)) *frames {
	return &frames{stdout: lines{fn: fn}, stderr: lines{fn: fn, stderr: true}}
}

// write takes the next part of the output. An error is final: the beginning of the next frame is not known.
func (f *frames) write(p []byte) error {
	for len(p) > 0 {
		if f.have < len(f.head) {
			n := copy(f.head[f.have:], p)
			f.have += n
			p = p[n:]
			if f.have == len(f.head) && !f.open() {
				return errFrame
			}
			continue
		}
		n := min(uint32(len(p)), f.left)
		f.payload(p[:n])
		f.left -= n
		p = p[n:]
		f.closeFull()
	}
	return nil
}

// open reads a complete head. It returns false if the head is not valid.
func (f *frames) open() bool {
	f.left = binary.BigEndian.Uint32(f.head[4:])
	valid := f.head[0] <= 3 && f.head[1]|f.head[2]|f.head[3] == 0
	f.closeFull()
	return valid
}

// closeFull ends the frame, and the piece in it, if the payload is complete.
func (f *frames) closeFull() {
	if f.left > 0 {
		return
	}
	f.have = 0
	f.stdout.piece()
	f.stderr.piece()
}

// payload takes a part of the current payload. Output 2 is stderr, 3 the engine's own error.
func (f *frames) payload(p []byte) {
	switch f.head[0] {
	case 2:
		_ = f.stderr.write(p)
	case 3:
		f.fault = append(f.fault, p[:min(len(p), maxLine-len(f.fault))]...)
	default:
		_ = f.stdout.write(p)
	}
}

// end returns the engine's own error message, or an error if the last frame is incomplete.
func (f *frames) end() (fault string, err error) {
	if f.have > 0 {
		return "", io.ErrUnexpectedEOF
	}
	return string(bytes.TrimSpace(f.fault)), nil
}
