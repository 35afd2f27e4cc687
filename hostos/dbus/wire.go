package dbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The message types that we use.
const (
	kindReply = 2
	kindError = 3
)

// The header fields that we use.
const (
	fieldErrorName = 4
	fieldReply     = 5
	fieldSignature = 8
)

// maxMessage limits the size of a received message, in bytes. Expected replies are much smaller.
const maxMessage = 1 << 20

var (
	errMalformed = errors.New("malformed message")
	errArgument  = errors.New("an argument is neither a string nor a bool")
)

// writer appends values to a message that starts at a multiple of 8 bytes.
type writer []byte

func (w *writer) add(s string) { *w = append(*w, s...) }

func (w *writer) align(to int) {
	for len(*w)%to != 0 {
		w.add("\x00")
	}
}

func (w *writer) uint32(n uint32) {
	w.align(4)
	*w = binary.LittleEndian.AppendUint32(*w, n)
}

func (w *writer) string(s string) {
	w.uint32(uint32(len(s)))
	w.add(s)
	w.add("\x00")
}

// field appends one header field, unless its value is empty. kind is its code and type.
func (w *writer) field(kind, value string) {
	if value != "" {
		w.align(8)
		w.add(kind)
		w.string(value)
	}
}

// encode returns the message of a call.
func encode(serial uint32, c Call) ([]byte, error) {
	var body writer
	signature := ""
	for _, arg := range c.Args {
		switch v := arg.(type) {
		case string:
			signature += "s"
			body.string(v)
		case bool:
			signature += "b"
			n := uint32(0)
			if v {
				n = 1
			}
			body.uint32(n)
		default:
			return nil, errArgument
		}
	}
	m := writer("l\x01\x00\x01")
	m.uint32(uint32(len(body)))
	m.uint32(serial)
	m.uint32(0) // length of the fields, set below
	start := len(m)
	m.field("\x01\x01o\x00", c.Path)
	m.field("\x02\x01s\x00", c.Interface)
	m.field("\x03\x01s\x00", c.Method)
	m.field("\x06\x01s\x00", c.Service)
	if signature != "" {
		m.align(8)
		m.add("\x08\x01g\x00")
		m = append(m, byte(len(signature)))
		m.add(signature)
		m.add("\x00")
	}
	binary.LittleEndian.PutUint32(m[start-4:], uint32(len(m)-start))
	m.align(8)
	return append(m, body...), nil
}

// message has the used parts of a received message.
type message struct {
	kind      byte
	replyTo   uint32 // serial of the message that this one replies to, 0 for none
	errorName string
	texts     []string // of the body
}

// read reads one message.
func read(from io.Reader) (message, error) {
	var head [16]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return message{}, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch head[0] {
	case 'l':
	case 'B':
		order = binary.BigEndian
	default:
		return message{}, errMalformed
	}
	fields, body := order.Uint32(head[12:]), order.Uint32(head[4:])
	if fields > maxMessage || body > maxMessage {
		return message{}, fmt.Errorf("a message of %d bytes is too long", uint64(fields)+uint64(body))
	}
	padded := (fields + 7) &^ 7
	data := make([]byte, padded+body)
	if _, err := io.ReadFull(from, data); err != nil {
		return message{}, err
	}
	m := message{kind: head[1]}
	signature, err := m.fields(&reader{order: order, data: data[:fields]})
	if err != nil {
		return message{}, err
	}
	if m.texts, err = (&reader{order: order, data: data[padded:]}).texts(signature); err != nil {
		return message{}, err
	}
	return m, nil
}

// fields reads the header fields and returns the signature of the body.
func (m *message) fields(r *reader) (signature string, err error) {
	for r.err == nil && len(r.data) > r.at {
		r.align(8)
		code, kind := r.byte(), r.signature()
		switch {
		case code == fieldReply && kind == "u":
			m.replyTo = r.uint32()
		case code == fieldErrorName && kind == "s":
			m.errorName = r.string()
		case code == fieldSignature && kind == "g":
			signature = r.signature()
		default:
			r.value(kind, 0)
		}
	}
	return signature, r.err
}

// reader reads values from a message. After an error it returns zero values.
type reader struct {
	order binary.ByteOrder
	data  []byte
	at    int
	err   error
	found []string // the texts that value has read
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.data)-r.at {
		r.err = errMalformed
		return nil
	}
	r.at += n
	return r.data[r.at-n : r.at]
}

func (r *reader) align(to int) { r.take((to - r.at%to) % to) }

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	r.align(4)
	if b := r.take(4); b != nil {
		return r.order.Uint32(b)
	}
	return 0
}

// text reads n bytes and a zero byte.
func (r *reader) text(n int) string {
	b := r.take(n)
	r.take(1)
	return string(b)
}

func (r *reader) string() string { return r.text(int(r.uint32())) }

func (r *reader) signature() string { return r.text(int(r.byte())) }

// texts reads values of the types in signature and returns the texts among them.
func (r *reader) texts(signature string) ([]string, error) {
	for signature != "" && r.err == nil {
		signature = r.value(signature, 0)
	}
	return r.found, r.err
}

// maxDepth limits nested values. D-Bus allows 64 levels.
const maxDepth = 64

// value reads one value of the first type of signature and returns the types after it.
func (r *reader) value(signature string, depth int) (rest string) {
	if signature == "" || depth > maxDepth {
		r.err = errMalformed
		return ""
	}
	rest = signature[1:]
	switch signature[0] {
	case 'y':
		r.byte()
	case 'n', 'q':
		r.align(2)
		r.take(2)
	case 'b', 'i', 'u', 'h':
		r.uint32()
	case 'x', 't', 'd':
		r.align(8)
		r.take(8)
	case 's', 'o':
		r.found = append(r.found, r.string())
	case 'g':
		r.signature()
	case 'v':
		if inner := r.value(r.signature(), depth+1); inner != "" {
			r.err = errMalformed
		}
	case 'a':
		return r.list(rest, depth)
	case '(', '{':
		return r.group(rest, depth)
	default:
		r.err = errMalformed
	}
	return rest
}

// list reads the elements of an array. element starts with their type.
func (r *reader) list(element string, depth int) (rest string) {
	n := r.uint32()
	if rest = skip(element, depth); rest == element {
		r.err = errMalformed
		return ""
	}
	r.align(alignment(element[0]))
	end := r.at + int(n)
	if n > maxMessage || end > len(r.data) {
		r.err = errMalformed
	}
	for before := -1; r.err == nil && r.at < end && r.at != before; { // an empty struct makes no progress
		before = r.at
		r.value(element, depth+1)
	}
	if r.at != end {
		r.err = errMalformed
	}
	return rest
}

// group reads the members of a struct or a dict entry.
func (r *reader) group(members string, depth int) (rest string) {
	r.align(8)
	for r.err == nil && members != "" && members[0] != ')' && members[0] != '}' {
		members = r.value(members, depth+1)
	}
	if r.err != nil || members == "" {
		r.err = errMalformed
		return ""
	}
	return members[1:]
}

// skip returns signature without its first type, or all of signature if that type is incomplete.
func skip(signature string, depth int) string {
	if signature == "" || depth > maxDepth {
		return signature
	}
	switch signature[0] {
	case 'a':
		if rest := skip(signature[1:], depth+1); rest != signature[1:] {
			return rest
		}
		return signature
	case '(', '{':
		members := signature[1:]
		for members != "" && members[0] != ')' && members[0] != '}' {
			rest := skip(members, depth+1)
			if rest == members {
				return signature
			}
			members = rest
		}
		if members == "" {
			return signature
		}
		return members[1:]
	}
	return signature[1:]
}

func alignment(kind byte) int {
	switch kind {
	case 'y', 'g', 'v':
		return 1
	case 'n', 'q':
		return 2
	case 'x', 't', 'd', '(', '{':
		return 8
	}
	return 4
}
