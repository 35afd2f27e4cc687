package api

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/valyala/fasthttp"
)

// The bounds of a request body, in bytes.
const (
	maxBody       = 10 << 20  // after decompression (docs/spec/device-api.md 1.5)
	smallBody     = 256 << 10 // larger ones take their turn
	tinyBody      = 4 << 10   // read without asking for room
	roomForBodies = 2 << 20   // that all bodies between tiny and small may hold at once
	inflater      = 48 << 10  // what unpacking holds besides the body
)

// fields are the top-level fields of a request body, each still as JSON.
type fields map[string]json.RawMessage

// bodyError is a body that is refused, with the status it is refused with.
type bodyError struct {
	code    int
	message string
}

func (e *bodyError) Error() string { return e.message }

// encoding is how the body of one request is written.
type encoding struct {
	kind    string // media type, lower case
	charset string // lower case
	content string // content encoding, lower case
}

const (
	kindJSON = "application/json"
	kindForm = "application/x-www-form-urlencoded"
)

func encodingOf(contentType, contentEncoding string) encoding {
	kind, params, _ := strings.Cut(contentType, ";")
	e := encoding{
		kind:    strings.ToLower(strings.TrimSpace(kind)),
		charset: "utf-8",
		content: strings.ToLower(strings.TrimSpace(contentEncoding)),
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "charset") {
			e.charset = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	return e
}

// readBody reads the body of a request that has one of the two types we read; a body of any other
// type counts as empty. Large bodies take their turn, so that many of them cannot fill the memory.
func (h *handlers) readBody(ctx *fasthttp.RequestCtx) (fields, []byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil || ctx.Request.Header.ContentLength() == 0 {
		return nil, nil, nil
	}
	enc := encodingOf(string(ctx.Request.Header.ContentType()), string(ctx.Request.Header.ContentEncoding()))
	if enc.kind != kindJSON && enc.kind != kindForm {
		return nil, nil, nil
	}
	if ctx.Request.Header.ContentLength() > maxBody {
		return nil, nil, errTooLarge
	}
	counted := &countingReader{from: stream}
	raw, err := h.readRaw(counted, enc, ctx.Request.Header.ContentLength())
	if err != nil {
		return nil, nil, err
	}
	if declared := ctx.Request.Header.ContentLength(); declared > counted.n {
		return nil, nil, errCut
	}
	return decodeBody(raw, enc)
}

var (
	errTooLarge = &bodyError{fasthttp.StatusRequestEntityTooLarge, "request entity too large"}
	errCut      = &bodyError{fasthttp.StatusBadRequest, "request aborted"}
	errBusy     = &bodyError{fasthttp.StatusServiceUnavailable, textBusy}
)

// countingReader counts the bytes that came from the client.
type countingReader struct {
	from io.Reader
	n    int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.n += n
	return n, err
}

// readRaw reads and unpacks a body of the declared length, negative when it was not declared. While
// a client is slow, what was read of its body lies in memory; how much all of them may hold is bounded.
func (h *handlers) readRaw(from io.Reader, enc encoding, declared int) ([]byte, error) {
	if err := enc.check(); err != nil {
		return nil, err
	}
	room := enc.room(declared)
	if h.room.Add(int64(room)) > roomForBodies && room > 0 {
		h.room.Add(int64(-room))
		return nil, errBusy
	}
	defer h.room.Add(int64(-room))
	plain, err := enc.decompress(from)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.Grow(max(room, tinyBody))
	if err := readUpTo(&buf, plain, smallBody); !errors.Is(err, errTooLarge) {
		return buf.Bytes(), readError(err)
	}
	select {
	case h.large <- struct{}{}:
		defer func() { <-h.large }()
	default:
		return nil, errBusy
	}
	err = readUpTo(&buf, plain, maxBody)
	return buf.Bytes(), readError(err)
}

// readUpTo appends to buf until the end, or until buf holds limit bytes and one more: errTooLarge.
func readUpTo(buf *bytes.Buffer, from io.Reader, limit int) error {
	_, err := buf.ReadFrom(io.LimitReader(from, int64(limit+1-buf.Len())))
	if err == nil && buf.Len() > limit {
		return errTooLarge
	}
	return err
}

// readError makes every failure to read a body one that names what is wrong with it.
func readError(err error) error {
	var known *bodyError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &bodyError{fasthttp.StatusBadRequest, "request body: " + err.Error()}
}

func (e encoding) check() error {
	if e.charset != "utf-8" {
		return &bodyError{fasthttp.StatusUnsupportedMediaType,
			`unsupported charset "` + strings.ToUpper(e.charset) + `"`}
	}
	switch e.content {
	case "", "identity", "gzip", "deflate":
		return nil
	}
	return &bodyError{fasthttp.StatusUnsupportedMediaType,
		`unsupported content encoding "` + e.content + `"`}
}

// room is what reading a body of the declared length may hold, 0 for a tiny one.
func (e encoding) room(declared int) int {
	switch {
	case e.content == "gzip" || e.content == "deflate":
		return smallBody + inflater
	case declared >= 0 && declared <= tinyBody:
		return 0
	case declared >= 0 && declared < smallBody:
		return declared
	}
	return smallBody
}

func (e encoding) decompress(from io.Reader) (io.Reader, error) {
	var plain io.Reader = from
	var err error
	switch e.content {
	case "gzip":
		plain, err = gzip.NewReader(from)
	case "deflate":
		plain, err = zlib.NewReader(from)
	}
	return plain, readError(err)
}

// decodeBody is the fields of a body and the body itself as JSON. A JSON list has no fields.
func decodeBody(raw []byte, enc encoding) (fields, []byte, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if len(raw) == 0 {
		return nil, nil, nil
	}
	if enc.kind == kindForm {
		form, err := decodeForm(string(raw))
		if err != nil {
			return nil, nil, err
		}
		raw = encode(form)
	}
	f, err := decodeJSON(raw)
	return f, raw, err
}

func decodeJSON(raw []byte) (fields, error) {
	var f fields
	var err error
	switch first := bytes.TrimLeft(raw, " \t\r\n"); {
	case len(first) > 0 && first[0] == '[':
		var list []json.RawMessage
		err = json.Unmarshal(raw, &list)
	case len(first) > 0 && first[0] == '{':
		err = json.Unmarshal(raw, &f)
	default:
		err = errors.New("request body: neither a JSON object nor a list")
	}
	if err != nil {
		return nil, &bodyError{fasthttp.StatusBadRequest, err.Error()}
	}
	return f, nil
}
