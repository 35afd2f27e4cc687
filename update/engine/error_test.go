package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestErrorKinds(t *testing.T) {
	kinds := []struct {
		name string
		is   func(error) bool
	}{{"not found", IsNotFound}, {"conflict", IsConflict}, {"unknown", IsUnknown}, {"no space", IsNoSpace}, {"exec format", IsExecFormat}}
	f := func(err error, want string) {
		t.Helper()
		got := ""
		for _, k := range kinds {
			if k.is(err) {
				got += k.name
			}
		}
		if got != want {
			t.Errorf("%v: is %q, want %q", err, got, want)
		}
	}
	f(nil, "")
	f(errors.New("no space left on device"), "")
	f(context.Canceled, "")
	f(&Error{Status: 404}, "not found")
	f(&Error{Status: 409}, "conflict")
	f(&Error{Status: 304}, "")
	f(&Error{Status: 500}, "")
	f(&Error{cause: context.Canceled}, "unknown")
	f(&Error{Message: "no space left on device"}, "unknown")
	f(&Error{Status: 500, Message: "write /a: No space left on device"}, "no space")
	f(&Error{Status: 400, Message: "exec user process: exec format error"}, "exec format")
	f(fmt.Errorf("apply: %w", &Error{Status: 404}), "not found")
}

func TestErrorText(t *testing.T) {
	f := func(e *Error, want string) {
		t.Helper()
		if e.Error() != want {
			t.Errorf("got %q, want %q", e, want)
		}
	}
	f(&Error{Op: "pull", Object: "a:1", Message: "manifest unknown"}, "pull a:1: manifest unknown")
	f(&Error{Op: "list images", Message: "gone"}, "list images: gone")
}

func TestReasonOf(t *testing.T) {
	f := func(status int, body, want string) {
		t.Helper()
		if got := reasonOf(status, []byte(body)); got != want {
			t.Errorf("%d %s: got %q, want %q", status, body, got, want)
		}
	}
	f(404, `{"message":"no such image\n"}`, "no such image")
	f(400, "client version 1.11 is too old\n", "client version 1.11 is too old")
	f(404, "", "not found")
	f(500, `{"message":""}`, "internal server error")
	f(500, `{"message":"cut off`, "internal server error")
	f(799, "", "unknown status code")
}
