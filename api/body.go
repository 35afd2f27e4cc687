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

// maxBody is the largest size of a body after decompression, in bytes (docs/spec/device-api.md 1.5).
const maxBody = 10 << 20

// maxFieldBytes is the largest size of all fields of a body together; one field may have half of it.
const maxFieldBytes = 256 << 10

// limitsOf is what is kept of each kind of body. A target may have 30000 values, since 2000 services with five
// variables and a label each have 28000. A larger one would take more memory than one request may.
var limitsOf = [...]bodyLimits{
	parsed: {
		bytes:   maxFieldBytes,
		field:   maxFieldBytes / 2,
		scalar:  maxFieldBytes / 2,
		members: 1000,
		values:  maxBody,
	},
	hostBody: {
		bytes:   maxFieldBytes,
		field:   maxFieldBytes / 2,
		scalar:  maxFieldBytes / 2,
		members: 1000,
		values:  maxBody,
		tooLong: errTooLarge,
	},
	tagsBody: {
		bytes:   maxFieldBytes,
		field:   maxFieldBytes / 2,
		scalar:  maxFieldBytes / 2,
		members: maxBody,
		values:  maxBody,
		tooLong: &bodyError{fasthttp.StatusBadRequest, string(view.ErrTooManyTags)},
	},
	targetBody: {
		bytes:   2 << 20,
		field:   2 << 20,
		scalar:  maxFieldBytes / 2,
		members: maxBody,
		values:  30_000,
		whole:   true,
	},
}

// fields are the top-level fields of a request body, each as JSON.
type fields map[string]json.RawMessage

// bodyError refuses a body with a status and a message.
type bodyError struct {
	code    int
	message string
}

func (e *bodyError) Error() string { return e.message }

// encoding is what the headers of a request say about its body.
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

// readBody reads the body of a request if it has one of the two types that we read; a body of any other type counts
// as empty. The reservation pays for what is kept of it.
func readBody(ctx *fasthttp.RequestCtx, limits *bodyLimits, r *reservation) (fields, []byte, error) {
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
	counted := &countingReader{from: stream, progress: r.addProgress}
	f, raw, err := decodeBody(counted, enc, limits, r)
	if err == nil && declared > counted.n {
		err = errAborted
	}
	r.complete()
	return f, raw, toBodyError(err)
}

// release returns what a body reserved, and reports that memory has become free.
func (h *handlers) release(r *reservation) {
	r.release()
	if r.total > 0 {
		h.apps.ConversationEnded()
	}
}

var (
	errTooLarge       = &bodyError{fasthttp.StatusRequestEntityTooLarge, "request entity too large"}
	errTargetTooLarge = &bodyError{fasthttp.StatusRequestEntityTooLarge, "a target state has at most 2 MiB and 30000 values"}
	errAborted        = &bodyError{fasthttp.StatusBadRequest, "request aborted"}
)

// countingReader counts the bytes that came from the client.
type countingReader struct {
	from     io.Reader
	progress func(int)
	n        int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.n += n
	r.progress(n)
	return n, err
}

// limitedReader fails when a body is larger than one may be.
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

// toBodyError turns any error from reading a body into a bodyError.
func toBodyError(err error) error {
	var known *bodyError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return errTimeout
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

// decompressed is the body without its compression.
func (e encoding) decompressed(from io.Reader, r *reservation) (io.Reader, error) {
	if e.content != "gzip" && e.content != "deflate" {
		return from, nil
	}
	if err := r.reserve(inflateCost); err != nil {
		return nil, err
	}
	if e.content == "gzip" {
		return gzip.NewReader(from)
	}
	return zlib.NewReader(from)
}

// decodeBody returns the fields of a body and, as JSON, what is kept of it. A JSON list has no fields.
func decodeBody(from io.Reader, enc encoding, limits *bodyLimits, r *reservation) (fields, []byte, error) {
	if err := enc.check(); err != nil {
		return nil, nil, err
	}
	plain, err := enc.decompressed(from, r)
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
		form, err := readForm(in, &bodyBuffer{reservation: r})
		if err != nil {
			return nil, nil, err
		}
		in.Reset(bytes.NewReader(encode(form)))
	}
	return decodeJSON(in, limits, &bodyBuffer{reservation: r})
}

const byteOrderMark = "\xef\xbb\xbf"

func unlessEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func decodeJSON(in *bufio.Reader, limits *bodyLimits, to *bodyBuffer) (f fields, raw []byte, err error) {
	isObject, err := scan(in, limits, to)
	if err == nil && isObject && !limits.whole {
		err = json.Unmarshal(to.bytes, &f)
	}
	return f, to.bytes, err
}
