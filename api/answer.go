package api

import (
	"bytes"
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// Answer is what a handler returns; it alone knows how it is written. Body is nil for none.
type Answer struct {
	Status int
	Body   body
}

// body is what an answer carries: text or encoded.
type body interface{ contentType() string }

type (
	text    string
	encoded []byte // compact JSON, never changed after it was made
)

func (text) contentType() string    { return typeText }
func (encoded) contentType() string { return typeJSON }

const (
	typeJSON = "application/json; charset=utf-8"
	typeText = "text/plain; charset=utf-8"
)

// incomparable, as a field, spares the program the code that would compare two of a struct: encoding
// keeps it for every type that it sees.
type incomparable [0]func()

// status is the JSON of an answer that only says how it went.
type status struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// data is the JSON of the oldest endpoints.
type data struct {
	Data  string
	Error string
}

func done() Answer { return Answer{fasthttp.StatusOK, text("OK")} }

func document(v any) Answer { return Answer{fasthttp.StatusOK, encode(v)} }

func refuse(code int, message string) Answer { return Answer{code, text(message)} }

func fail(code int, message string) Answer { return Answer{code, encode(status{"failed", message})} }

func (a Answer) write(ctx *fasthttp.RequestCtx) {
	ctx.Response.SetStatusCode(a.Status)
	if a.Body != nil {
		ctx.Response.Header.SetContentType(a.Body.contentType())
	}
	switch b := a.Body.(type) {
	case text:
		ctx.Response.SetBodyString(string(b))
	case encoded:
		ctx.Response.SetBodyRaw(b)
	case metrics:
		b.write(&ctx.Response)
	case *stream:
		b.write(ctx)
	}
}

// encode is v as compact JSON without the escapes that only HTML needs. What is passed to it is
// always one of this package's own types, so that it cannot fail.
func encode(v any) encoded {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}
