package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/engine"

	"resin-supervisor/test/harness"
)

// logOf reads a container's output until it ends; a line is "out text" or "err text", long text
// its length.
func logOf(t *testing.T, c *engine.Client, id string, o engine.LogOptions) (got []string) {
	t.Helper()
	err := c.Logs(t.Context(), id, o, func(l engine.LogLine) {
		if time.Since(l.At) > time.Hour {
			t.Errorf("line at %v: %.40s", l.At, l.Text)
		}
		got = append(got, show(l))
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func show(l engine.LogLine) string {
	from := "out "
	if l.Stderr {
		from = "err "
	}
	if len(l.Text) > 100 {
		return fmt.Sprint(from, len(l.Text))
	}
	return from + string(l.Text)
}

// engine.md 8.
func TestLogs(t *testing.T) {
	c, _ := bed(t)
	const text = `echo one; sleep 0.1; echo two >&2; sleep 0.1; echo; printf '%020000d\n' 5; printf '%016384d\n' 5; printf end`
	f := func(tty bool, want ...string) {
		t.Helper()
		body := script(text)
		body.Tty = tty
		id := run(t, c, fmt.Sprint("logs-", tty), body)
		// An engine that sees the end of the container first does not hand out an unfinished line.
		finished := want[:len(want)-1]
		if got := logOf(t, c, id, engine.LogOptions{Tty: tty, Follow: true}); !slices.Equal(got, want) && !slices.Equal(got, finished) {
			t.Errorf("tty %v, followed: %q, want %q", tty, got, want)
		}
		if got := logOf(t, c, id, engine.LogOptions{Tty: tty}); !slices.Equal(got, want) {
			t.Errorf("tty %v, afterwards: %q, want %q", tty, got, want)
		}
		if got := logOf(t, c, id, engine.LogOptions{Tty: tty, Tail: 1}); !slices.Equal(got, want[len(want)-1:]) {
			t.Errorf("tty %v, last line: %q", tty, got)
		}
	}
	f(false, "out one", "err two", "out ", "out 16384", "out 3616", "out 16384", "out end")
	f(true, "out one", "out two", "out ", "out 16384", "out 3616", "out 16384", "out end")
}

func TestLogsSince(t *testing.T) {
	c, _ := bed(t)
	id := run(t, c, "since", script("echo one; sleep 0.1; echo two"))
	var at []time.Time
	harness.Must(t, c.Logs(t.Context(), id, engine.LogOptions{Follow: true}, func(l engine.LogLine) { at = append(at, l.At) }))
	if len(at) != 2 {
		t.Fatal(at)
	}
	if got := logOf(t, c, id, engine.LogOptions{Since: at[1]}); !slices.Equal(got, []string{"out two"}) {
		t.Error(got)
	}
}

func TestLogsOfTheWrongFraming(t *testing.T) {
	c, _ := bed(t)
	body := script("echo one")
	body.Tty = true
	id := run(t, c, "framing", body)
	logOf(t, c, id, engine.LogOptions{Tty: true, Follow: true})
	err := c.Logs(t.Context(), id, engine.LogOptions{}, func(l engine.LogLine) { t.Errorf("got %q", l.Text) })
	if !strings.Contains(fmt.Sprint(err), "unreadable log frame") {
		t.Error(err)
	}
}

func TestLogsEndWithTheContext(t *testing.T) {
	c, _ := bed(t)
	id := run(t, c, "endless", script("echo one; "+forever))
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Logs(ctx, id, engine.LogOptions{Follow: true}, func(engine.LogLine) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantStatus(t, "no container", c.Logs(t.Context(), "nobody", engine.LogOptions{}, nil), http.StatusNotFound)
}
