package api

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// keep says what is kept of a JSON text, and what is answered where that is not enough
// (docs/spec/device-api.md 1.5).
type keep struct {
	bytes   int        // in all
	field   int        // bytes of one field
	scalar  int        // bytes of one that is no list and no object
	members int        // of any object
	values  int        // in all
	whole   bool       // the fields are not told apart
	tooLong *bodyError // for a longer field; nil leaves it out
}

// tooLarge is for more bytes or values in all.
func (k *keep) tooLarge() error {
	if k.whole {
		return errTargetTooLarge
	}
	return errTooLarge
}

// maxLevels is how deep lists and objects may be nested.
const maxLevels = 200

// shownList is how long a list may be that is kept: nobody asks for a part of one, but an error may show it.
const shownList = 160

// scanner checks a JSON text while it comes and keeps a compact copy of what is wanted of it: a body
// costs what of it is decoded, not what was sent. Once it has failed, all that comes is 0.
type scanner struct {
	in     *bufio.Reader
	read   int  // bytes in all
	c      byte // to be looked at, 0 at the end
	ended  bool
	err    error
	rule   *keep
	to     *store
	bound  int  // what the store holds at most with this field
	over   bool // the field is longer than that: no more of it is kept
	values int
}

// scan reads an object or a list to the end. Of an object it keeps whole fields; a long list is only
// hinted at.
func scan(in *bufio.Reader, rule *keep, to *store) (isObject bool, err error) {
	s := &scanner{in: in, rule: rule, to: to, bound: rule.bytes + 1}
	s.skip()
	s.blank()
	switch {
	case s.c == '{':
		isObject = true
		s.object(0)
	case s.c == '[':
		s.bound = shownList
		if s.list(0); s.over {
			to.bytes = append(to.bytes[:0], `["..."]`...)
		}
	case s.err == nil:
		s.fail(refusal("neither a JSON object nor a list"))
	}
	s.blank()
	if !s.ended {
		s.malformed()
	}
	return isObject, s.err
}

func refusal(what string) error {
	return &bodyError{fasthttp.StatusBadRequest, "request body: " + what}
}

// fail ends the reading; the first reason counts.
func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.c = 0
}

func (s *scanner) malformed() {
	if s.ended {
		s.fail(refusal("unexpected end of JSON"))
		return
	}
	s.fail(refusal("not JSON at byte " + strconv.Itoa(s.read)))
}

// skip goes on to the next byte.
func (s *scanner) skip() {
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

// keep keeps the byte and goes on to the next.
func (s *scanner) keep() {
	s.put(s.c)
	s.skip()
}

func (s *scanner) put(c byte) {
	switch {
	case s.over || s.err != nil:
	case len(s.to.bytes) == s.bound:
		s.over = true
	case len(s.to.bytes) == s.rule.bytes:
		s.fail(s.rule.tooLarge())
	default:
		if err := s.to.add(c); err != nil {
			s.fail(err)
		}
	}
}

func (s *scanner) blank() {
	for s.c == ' ' || s.c == '\t' || s.c == '\n' || s.c == '\r' {
		s.skip()
	}
}

// value reads a value and the blanks after it.
func (s *scanner) value(level int) {
	if s.values++; s.values > s.rule.values {
		s.fail(s.rule.tooLarge())
	}
	if level > maxLevels {
		s.fail(refusal("too many levels of JSON"))
	}
	switch s.c {
	case '{':
		s.object(level)
	case '[':
		s.list(level)
	case '"':
		s.text()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
	s.blank()
}

// object reads an object. The fields of the outermost, level 0, are kept or left out as a whole.
func (s *scanner) object(level int) {
	s.keep()
	s.blank()
	for n := 1; s.c != '}'; n++ {
		from := len(s.to.bytes)
		if n > 1 && !s.comma(level > 0 || from > 1) {
			return
		}
		start := len(s.to.bytes)
		s.begin(level, start+s.rule.scalar)
		if n > s.rule.members {
			s.fail(errTooManyFields)
		}
		s.text()
		s.blank()
		if s.c != ':' {
			s.malformed()
			return
		}
		s.keep()
		s.blank()
		if s.c == '{' || s.c == '[' {
			s.begin(level, start+s.rule.field)
		}
		s.value(level + 1)
		s.finish(level, from)
	}
	s.keep()
}

// begin sets what the store may hold at most with a field of the outermost object.
func (s *scanner) begin(level, bound int) {
	if level == 0 {
		s.bound = bound
	}
}

// finish leaves a field of the outermost object out again when it is too long.
func (s *scanner) finish(level, from int) {
	if level > 0 {
		return
	}
	if s.over && s.rule.tooLong != nil {
		s.fail(s.rule.tooLong)
	}
	if s.over {
		s.to.bytes = s.to.bytes[:from]
	}
	s.over, s.bound = false, s.rule.bytes+1
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
	s.skip()
	s.blank()
	return true
}

func (s *scanner) list(level int) {
	s.keep()
	s.blank()
	for n := 1; s.c != ']'; n++ {
		if n > 1 && !s.comma(true) {
			return
		}
		s.value(level + 1)
	}
	s.keep()
}

func (s *scanner) text() {
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

// escaped reads what follows a backslash.
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

func (s *scanner) word(w string) {
	for i := range len(w) {
		if s.c != w[i] {
			s.malformed()
			return
		}
		s.keep()
	}
}
