package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// maxBody is how long a body may be after decompression, in bytes (docs/spec/device-api.md 1.5).
const maxBody = 10 << 20

// fieldBytes is what the fields of a body hold in all; half of it is enough for one.
const fieldBytes = 256 << 10

// kept is what is kept of bodies. A target takes what it may have: a service with ten variables and a label has
// 19 values in half a KiB, and there may be 2000. What is more would cost more than one request may.
var kept = [...]keep{
	parsed:   {bytes: fieldBytes, field: fieldBytes / 2, scalar: fieldBytes / 2, members: 1000, values: maxBody},
	hostBody: {bytes: fieldBytes, field: fieldBytes / 2, scalar: fieldBytes / 2, members: 1000, values: maxBody, tooLong: errTooLarge},
	tagsBody: {bytes: fieldBytes, field: fieldBytes / 2, scalar: fieldBytes / 2, members: maxBody, values: maxBody,
		tooLong: &bodyError{fasthttp.StatusBadRequest, string(view.ErrTooManyTags)}},
	targetBody: {bytes: 2 << 20, field: 2 << 20, scalar: fieldBytes / 2, members: maxBody, values: 30_000, whole: true},
}

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

// readBody reads the body of a request that has one of the two types we read; a body of any other type
// counts as empty. What is kept of it has its share of the room.
func readBody(ctx *fasthttp.RequestCtx, rule *keep, share *share) (fields, []byte, error) {
	stream, declared := ctx.RequestBodyStream(), ctx.Request.Header.ContentLength()
	if stream == nil || declared == 0 {
		return nil, nil, nil
	}
	enc := encodingOf(string(ctx.Request.Header.ContentType()), string(ctx.Request.Header.ContentEncoding()))
	if enc.kind != kindJSON && enc.kind != kindForm {
		return nil, nil, nil
	}
	if declared > maxBody {
		return nil, nil, errTooLarge
	}
	counted := &countingReader{from: stream, heard: share.hear}
	f, raw, err := decodeBody(counted, enc, rule, share)
	if err == nil && declared > counted.n {
		err = errCut
	}
	share.read()
	return f, raw, readError(err)
}

// leave ends what a body holds.
func (h *handlers) leave(s *share) {
	s.leave()
	if s.taken > 0 {
		h.apps.ConversationEnded()
	}
}

var (
	errTooLarge       = &bodyError{fasthttp.StatusRequestEntityTooLarge, "request entity too large"}
	errTargetTooLarge = &bodyError{fasthttp.StatusRequestEntityTooLarge, "a target state has at most 2 MiB and 30000 values"}
	errCut            = &bodyError{fasthttp.StatusBadRequest, "request aborted"}
)

// countingReader counts the bytes that came from the client.
type countingReader struct {
	from  io.Reader
	heard func(int)
	n     int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.n += n
	r.heard(n)
	return n, err
}

// limitedReader reads a body as long as one may be.
type limitedReader struct {
	from io.Reader
	left int
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.left -= n; r.left < 0 {
		err = errTooLarge
	}
	return n, err
}

// readError makes every failure to read a body one that names what is wrong with it.
func readError(err error) error {
	var known *bodyError
	var late interface{ Timeout() bool }
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &late) && late.Timeout():
		return errSlow
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

// unpacked is the body as it was before it was compressed.
func (e encoding) unpacked(from io.Reader, share *share) (io.Reader, error) {
	if e.content != "gzip" && e.content != "deflate" {
		return from, nil
	}
	if err := share.take(inflater); err != nil {
		return nil, err
	}
	if e.content == "gzip" {
		return gzip.NewReader(from)
	}
	return zlib.NewReader(from)
}

// decodeBody is the fields of a body and, as JSON, what is kept of it. A JSON list has no fields.
func decodeBody(from io.Reader, enc encoding, rule *keep, share *share) (fields, []byte, error) {
	if err := enc.check(); err != nil {
		return nil, nil, err
	}
	plain, err := enc.unpacked(from, share)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(&limitedReader{plain, maxBody})
	if start, _ := in.Peek(len(byteOrderMark)); string(start) == byteOrderMark {
		_, _ = in.Discard(len(byteOrderMark))
	}
	if _, err := in.Peek(1); err != nil {
		return nil, nil, unlessEOF(err)
	}
	if enc.kind == kindForm {
		form, err := readForm(in, &store{share: share})
		if err != nil {
			return nil, nil, err
		}
		in.Reset(bytes.NewReader(encode(form)))
	}
	return decodeJSON(in, rule, &store{share: share})
}

const byteOrderMark = "\xef\xbb\xbf"

func unlessEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func decodeJSON(in *bufio.Reader, rule *keep, to *store) (f fields, raw []byte, err error) {
	isObject, err := scan(in, rule, to)
	if err == nil && isObject && !rule.whole {
		err = json.Unmarshal(to.bytes, &f)
	}
	return f, to.bytes, err
}
