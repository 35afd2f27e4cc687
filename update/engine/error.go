package engine

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Error is the error of a failed call.
type Error struct {
	Op      string // the operation, for example "create container"
	Object  string // its object; "" when the call is not about a single object
	Status  int    // HTTP status, or the one of an error inside a stream; 0: no complete answer arrived
	Message string // from the engine, or the error of the connection
	// Streamed says that the error came inside a stream, after the engine had begun the work.
	Streamed bool

	cause error // without a complete answer: the error of the context or the connection
}

// Error returns "operation object: message".
func (e *Error) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Message
	}
	return e.Op + " " + e.Object + ": " + e.Message
}

// Unwrap returns the error of the context or the connection, nil when the engine answered.
func (e *Error) Unwrap() error { return e.cause }

// IsNotFound reports whether the engine does not have the object, or an object that a create or start needs
// (docs/spec/engine.md 1.7).
func IsNotFound(err error) bool { return status(err) == fasthttp.StatusNotFound }

// IsConflict reports whether the state of the object forbids the call: name taken, still running, in use.
func IsConflict(err error) bool { return status(err) == fasthttp.StatusConflict }

// IsNotSupported reports whether the engine cannot do this at all, such as read the output of a log driver that keeps none.
func IsNotSupported(err error) bool { return status(err) == fasthttp.StatusNotImplemented }

// IsUnknown reports whether no complete answer arrived: engine unreachable, connection broken, context ended. The engine
// may have done the work all the same: inspect the object to find out.
func IsUnknown(err error) bool { return status(err) == 0 }

// IsNoSpace reports whether the engine's storage is full.
func IsNoSpace(err error) bool { return says(err, "no space left on device") }

// IsStreamed reports whether the engine had begun the work and sent the error inside its stream.
func IsStreamed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Streamed
}

// IsExecFormat reports whether a container's program is built for another processor.
func IsExecFormat(err error) bool { return says(err, "exec format error") }

// IsMissing reports whether the engine does not have this call. Docker and Podman say so in different words.
func IsMissing(err error) bool {
	var e *Error
	return status(err) == fasthttp.StatusNotImplemented || says(err, "page not found") || says(err, "/json is not supported") ||
		errors.As(err, &e) && e.Status == fasthttp.StatusNotFound && e.Message == "Not Found"
}

// status is the HTTP status of an engine error, 0 without a complete answer, -1 for any other error.
func status(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Status
}

// says looks for a text in the engine's message. An error of the kernel has status 500 like others, and an unknown call has
// the status of a missing object: only the message tells them apart. No other function reads messages.
func says(err error, text string) bool {
	var e *Error
	return errors.As(err, &e) && e.Status != 0 && strings.Contains(strings.ToLower(e.Message), text)
}

// reasonOf finds the message in the body of an error answer, which is {"message":"..."} or plain text.
func reasonOf(status int, body []byte) string {
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Message != "" {
		return strings.TrimSpace(answer.Message)
	}
	if text := strings.TrimSpace(string(body)); text != "" && !strings.HasPrefix(text, "{") {
		return text
	}
	return strings.ToLower(fasthttp.StatusMessage(status))
}

// transportReason is the message of a call without a complete answer.
func transportReason(err error, timeout time.Duration) string {
	var t interface{ Timeout() bool }
	switch {
	case timeout > 0 && errors.As(err, &t) && t.Timeout():
		return "no answer within " + timeout.String()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed by the engine"
	}
	return err.Error()
}
