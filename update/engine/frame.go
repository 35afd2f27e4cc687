package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

const (
	maxLine  = 16 << 10 // bytes of text; the engine itself cuts longer lines here
	maxStamp = 36       // bytes of a time stamp with the space after it
)

var errFrame = errors.New("unreadable log frame")

// lines cuts output into lines as it arrives. Each line, and each piece the engine has cut from a
// long one, opens with the time and a space.
type lines struct {
	fn      func(LogLine)
	stderr  bool
	buf     []byte    // of the present line: what may become the time, then its text
	stamped bool      // the time has been looked for
	at      time.Time // of the present line
	cut     bool      // the present line continues a piece that was handed out
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

// end hands out a last line without an end.
func (l *lines) end() (string, error) {
	l.piece()
	return "", nil
}

// room is how much fits before something must be done about it.
func (l *lines) room() int {
	if l.stamped {
		return maxLine - len(l.buf)
	}
	return maxStamp - len(l.buf)
}

// stamp parts the time from the text.
func (l *lines) stamp() {
	l.stamped = true
	first, rest, ok := bytes.Cut(l.buf, []byte{' '})
	if !ok {
		return
	}
	if at, err := time.Parse(time.RFC3339Nano, string(first)); err == nil {
		l.at = at
		l.buf = l.buf[:copy(l.buf, rest)]
	}
}

// finish hands out the present line at its end. An empty rest of a cut line is no line.
func (l *lines) finish() {
	if !l.stamped {
		l.stamp()
	}
	if text := bytes.TrimSuffix(l.buf, []byte{'\r'}); len(text) > 0 || !l.cut {
		l.fn(LogLine{Stderr: l.stderr, At: l.at, Text: text, Rest: l.cut})
	}
	l.reset(false)
}

// piece hands out what there is of the present line, if anything.
func (l *lines) piece() {
	if len(l.buf) == 0 && !l.stamped {
		return
	}
	if !l.stamped {
		l.stamp()
	}
	if len(l.buf) > 0 {
		l.fn(LogLine{Stderr: l.stderr, At: l.at, Text: l.buf, Rest: l.cut})
	}
	l.reset(true)
}

func (l *lines) reset(cut bool) {
	l.buf, l.stamped, l.at, l.cut = l.buf[:0], false, time.Time{}, cut
}

// frames decodes the output of a container without a terminal: frames of an 8-byte head (output
// number, three zero bytes, payload length in big-endian order) and a payload of one line or piece.
type frames struct {
	stdout, stderr lines
	fault          []byte // payload of the engine's own error
	head           [8]byte
	have           int    // bytes of the head
	left           uint32 // bytes of the payload still to come
}

func newFrames(fn func(LogLine)) *frames {
	return &frames{stdout: lines{fn: fn}, stderr: lines{fn: fn, stderr: true}}
}

// write takes the next part of the output. After an error the place of the next frame is lost.
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

// open reads a complete head.
func (f *frames) open() bool {
	f.left = binary.BigEndian.Uint32(f.head[4:])
	valid := f.head[0] <= 3 && f.head[1]|f.head[2]|f.head[3] == 0
	f.closeFull()
	return valid
}

// closeFull ends a frame whose payload is complete; so ends the piece of a line it held.
func (f *frames) closeFull() {
	if f.left > 0 {
		return
	}
	f.have = 0
	f.stdout.piece()
	f.stderr.piece()
}

// payload takes a part of the present frame: output 2 is stderr, 3 the engine's own error.
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

// end tells the engine's own error, or that the last frame is not whole.
func (f *frames) end() (fault string, err error) {
	if f.have > 0 {
		return "", io.ErrUnexpectedEOF
	}
	return string(bytes.TrimSpace(f.fault)), nil
}
