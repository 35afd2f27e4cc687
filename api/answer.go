package api

import (
	"bytes"
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// Answer is the result of a handler; nothing else writes responses. Body is nil when there is none.
type Answer struct {
	Status int
	Body   body
}

// body is the body of an answer: text, encoded, metrics or *stream.
type body interface{ contentType() string }

type (
	text    string
	encoded []byte // compact JSON, never changed
)

func (text) contentType() string    { return typeText }
func (encoded) contentType() string { return typeJSON }

const (
	typeJSON = "application/json; charset=utf-8"
	typeText = "text/plain; charset=utf-8"
)

// incomparable is a field of the largest structs. It saves the code that compares two of them, which the linker keeps
// for every type that encoding/json sees.
type incomparable [0]func()

// status is the JSON of an answer that only reports success or failure.
type status struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// v1Result is the JSON of the oldest endpoints.
type v1Result struct {
	Data  string
	Error string
}

func done() Answer { return Answer{fasthttp.StatusOK, text("OK")} }

func document(v any) Answer { return Answer{fasthttp.StatusOK, encode(v)} }

func textAnswer(code int, message string) Answer { return Answer{code, text(message)} }

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

// encode is v as compact JSON, without the escapes that only HTML needs. It cannot fail, because v is always of a
// type of this package.
func encode(v any) encoded {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}
