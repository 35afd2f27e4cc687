package api

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// bodyLimits says how much of a JSON body is kept, and what happens beyond that (docs/spec/device-api.md 1.5).
type bodyLimits struct {
	bytes   int        // of the whole body
	field   int        // bytes of one field
	scalar  int        // bytes of a field that is neither a list nor an object
	members int        // of any object
	values  int        // of the whole body
	whole   bool       // the handler wants the whole body, not its fields
	tooLong *bodyError // the answer to a longer field; nil drops the field
}

// tooLarge is the error for a body with too many bytes or values.
func (l *bodyLimits) tooLarge() error {
	if l.whole {
		return errTargetTooLarge
	}
	return errTooLarge
}

// maxLevels is how deep lists and objects may be nested.
const maxLevels = 200

// maxListBytes is the length up to which a body that is a list is kept. No handler reads one, but an error may
// quote it.
const maxListBytes = 160

// scanner checks a JSON text while it arrives, and keeps a compact copy of the fields that fit the limits. So a
// body costs the memory of what is kept, not of what was sent. After an error c is always 0.
type scanner struct {
	in       *bufio.Reader
	read     int  // bytes
	c        byte // the next byte, 0 at the end
	ended    bool
	err      error
	limits   *bodyLimits
	to       *bodyBuffer
	maxBytes int  // the size of the buffer at which the current field is too long
	over     bool // the current field is too long: no more of it is kept
	values   int
}

// scan reads an object or a list to the end. It keeps the fields of an object that fit, and a placeholder for a
// long list.
func scan(in *bufio.Reader, limits *bodyLimits, to *bodyBuffer) (isObject bool, err error) {
	s := &scanner{in: in, limits: limits, to: to, maxBytes: limits.bytes + 1}
	s.advance()
	s.skipSpace()
	switch {
	case s.c == '{':
		isObject = true
		s.object(0)
	case s.c == '[':
		s.maxBytes = maxListBytes
		if s.list(0); s.over {
			to.bytes = append(to.bytes[:0], `["..."]`...)
		}
	case s.err == nil:
		s.fail(malformedBody("neither a JSON object nor a list"))
	}
	s.skipSpace()
	if !s.ended {
		s.malformed()
	}
	return isObject, s.err
}

func malformedBody(what string) error {
	return &bodyError{fasthttp.StatusBadRequest, "request body: " + what}
}

// fail stops the scanner. Only the first error counts.
func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.c = 0
}

func (s *scanner) malformed() {
	if s.ended {
		s.fail(malformedBody("unexpected end of JSON"))
		return
	}
	s.fail(malformedBody("not JSON at byte " + strconv.Itoa(s.read)))
}

// advance goes on to the next byte.
func (s *scanner) advance() {
	s.c = 0
	if s.err != nil || s.ended {
		return
	}
	c, err := s.in.ReadByte()
	switch err {
	case nil:
		s.c = c
		s.read++
	case io.EOF:
		s.ended = true
	default:
		s.fail(err)
	}
}

// keep keeps the byte and goes on to the next one.
func (s *scanner) keep() {
	s.put(s.c)
	s.advance()
}

func (s *scanner) put(c byte) {
	switch {
	case s.over || s.err != nil:
	case len(s.to.bytes) == s.maxBytes:
		s.over = true
	case len(s.to.bytes) == s.limits.bytes:
		s.fail(s.limits.tooLarge())
	default:
		if err := s.to.add(c); err != nil {
			s.fail(err)
		}
	}
}

func (s *scanner) skipSpace() {
	for s.c == ' ' || s.c == '\t' || s.c == '\n' || s.c == '\r' {
		s.advance()
	}
}

// value reads a value and the white space after it.
func (s *scanner) value(level int) {
	if s.values++; s.values > s.limits.values {
		s.fail(s.limits.tooLarge())
	}
	if level > maxLevels {
		s.fail(malformedBody("too many levels of JSON"))
	}
	switch s.c {
	case '{':
		s.object(level)
	case '[':
		s.list(level)
	case '"':
		s.str()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
	s.skipSpace()
}

// object reads an object. It keeps or drops each field of the outermost object, level 0, as a whole.
func (s *scanner) object(level int) {
	s.keep()
	s.skipSpace()
	for n := 1; s.c != '}'; n++ {
		from := len(s.to.bytes)
		if n > 1 && !s.comma(level > 0 || from > 1) {
			return
		}
		start := len(s.to.bytes)
		s.beginField(level, start+s.limits.scalar)
		if n > s.limits.members {
			s.fail(errTooManyFields)
		}
		s.str()
		s.skipSpace()
		if s.c != ':' {
			s.malformed()
			return
		}
		s.keep()
		s.skipSpace()
		if s.c == '{' || s.c == '[' {
			s.beginField(level, start+s.limits.field)
		}
		s.value(level + 1)
		s.endField(level, from)
	}
	s.keep()
}

// beginField sets the size of the buffer at which a field of the outermost object is too long.
func (s *scanner) beginField(level, maxBytes int) {
	if level == 0 {
		s.maxBytes = maxBytes
	}
}

// endField drops a field of the outermost object that is too long.
func (s *scanner) endField(level, from int) {
	if level > 0 {
		return
	}
	if s.over && s.limits.tooLong != nil {
		s.fail(s.limits.tooLong)
	}
	if s.over {
		s.to.bytes = s.to.bytes[:from]
	}
	s.over, s.maxBytes = false, s.limits.bytes+1
}

// comma reads the comma between two members.
func (s *scanner) comma(kept bool) bool {
	if s.c != ',' {
		s.malformed()
		return false
	}
	if kept {
		s.put(',')
	}
	s.advance()
	s.skipSpace()
	return true
}

func (s *scanner) list(level int) {
	s.keep()
	s.skipSpace()
	for n := 1; s.c != ']'; n++ {
		if n > 1 && !s.comma(true) {
			return
		}
		s.value(level + 1)
	}
	s.keep()
}

func (s *scanner) str() {
	if s.c != '"' {
		s.malformed()
		return
	}
	s.keep()
	for s.c != '"' {
		switch {
		case s.c < ' ':
			s.malformed()
			return
		case s.c == '\\':
			s.keep()
			s.escaped()
		default:
			s.keep()
		}
	}
	s.keep()
}

// escaped reads the rest of an escape sequence.
func (s *scanner) escaped() {
	if s.c == 'u' {
		for range 4 {
			s.keep()
			if c := s.c | 0x20; !isDigit(s.c) && (c < 'a' || c > 'f') {
				s.malformed()
			}
		}
	} else if strings.IndexByte(`"\/bfnrt`, s.c) < 0 {
		s.malformed()
	}
	s.keep()
}

func (s *scanner) number() {
	if s.c == '-' {
		s.keep()
	}
	if s.c == '0' {
		s.keep()
	} else {
		s.digits()
	}
	if s.c == '.' {
		s.keep()
		s.digits()
	}
	if s.c == 'e' || s.c == 'E' {
		s.keep()
		if s.c == '+' || s.c == '-' {
			s.keep()
		}
		s.digits()
	}
}

func (s *scanner) digits() {
	if !isDigit(s.c) {
		s.malformed()
	}
	for isDigit(s.c) {
		s.keep()
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) literal(text string) {
	for i := range len(text) {
		if s.c != text[i] {
			s.malformed()
			return
		}
		s.keep()
	}
}
