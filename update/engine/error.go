package engine

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Error is a call that did not do what was asked.
type Error struct {
	_ [0]func() // nobody compares it: no code for that

	Op      string // what was done, for example "create container"
	Object  string // to what; "" when the call is about no single object
	Status  int    // HTTP status, or that of an error inside a stream; 0: no whole answer came
	Message string // the engine's words, or what befell the connection
	// Streamed says that the error came inside a stream, after the engine had begun the work.
	Streamed bool

	cause error // of a call without an answer: the context's end or the connection's error
}

// Error is "operation object: message".
func (e *Error) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Message
	}
	return e.Op + " " + e.Object + ": " + e.Message
}

// Unwrap returns the error of the context or connection that ended the call, nil when the engine
// itself answered.
func (e *Error) Unwrap() error { return e.cause }

// IsNotFound tells that the engine does not have the object, or for a create or start one that it
// needs (docs/spec/engine.md 1.7).
func IsNotFound(err error) bool { return status(err) == fasthttp.StatusNotFound }

// IsConflict tells that the object's present state forbids the call: name taken, still running,
// in use.
func IsConflict(err error) bool { return status(err) == fasthttp.StatusConflict }

// IsNotSupported tells that the engine cannot do this at all, such as read back what a log driver took.
func IsNotSupported(err error) bool { return status(err) == fasthttp.StatusNotImplemented }

// IsUnknown tells that no whole answer came: engine unreachable, connection cut, context ended.
// Whether the engine did what was asked is known only after reading the object again.
func IsUnknown(err error) bool { return status(err) == 0 }

// IsNoSpace tells that the engine's storage is full.
func IsNoSpace(err error) bool { return says(err, "no space left on device") }

// IsStreamed tells that the engine had begun the work and told inside its stream that it went wrong.
func IsStreamed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Streamed
}

// IsExecFormat tells that a container's program is made for another processor.
func IsExecFormat(err error) bool { return says(err, "exec format error") }

// IsMissing tells that the engine does not have the call, in the words of Docker or of Podman.
func IsMissing(err error) bool {
	var e *Error
	return status(err) == fasthttp.StatusNotImplemented || says(err, "page not found") || says(err, "/json is not supported") ||
		errors.As(err, &e) && e.Status == fasthttp.StatusNotFound && e.Message == "Not Found"
}

// status is the HTTP status of an engine error, 0 without an answer, -1 for any other error.
func status(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Status
}

// says looks for a kernel error text in the engine's message. The engine passes these on as 500
// with nothing else to tell them by, and what its router says with the status of a missing object; this is
// the only place that reads messages.
func says(err error, text string) bool {
	var e *Error
	return errors.As(err, &e) && e.Status != 0 && strings.Contains(strings.ToLower(e.Message), text)
}

// reasonOf finds the message in the body of an error answer: {"message":"..."} or plain text.
func reasonOf(status int, body []byte) string {
	var told struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &told) == nil && told.Message != "" {
		return strings.TrimSpace(told.Message)
	}
	if text := strings.TrimSpace(string(body)); text != "" && !strings.HasPrefix(text, "{") {
		return text
	}
	return strings.ToLower(fasthttp.StatusMessage(status))
}

// cutReason words the error of a call without a whole answer.
func cutReason(err error, patience time.Duration) string {
	var t interface{ Timeout() bool }
	switch {
	case patience > 0 && errors.As(err, &t) && t.Timeout():
		return "no answer within " + patience.String()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed by the engine"
	}
	return err.Error()
}
