package client

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"resin-supervisor/api/overview"
)

func TestParseShow(t *testing.T) {
	f := func(want Show, ok bool, flags ...string) {
		t.Helper()
		if got, err := ParseShow(flags); got != want && ok || (err == nil) != ok {
			t.Errorf("%q: %+v %v", flags, got, err)
		}
	}
	f(Show{}, true)
	f(Show{Watch: true}, true, "--watch")
	f(Show{Watch: true, JSON: true}, true, "--json", "--watch")
	f(Show{}, false, "--colour")
	f(Show{}, false, "watch")
}

// A page replaces the page before completely, fits into the terminal, and says how many lines it leaves out.
func TestRedraw(t *testing.T) {
	f := func(page string, rows int, want string) {
		t.Helper()
		if got := redraw(page, rows); got != "\x1b[H"+want+"\x1b[J" {
			t.Errorf("%q in %d rows: %q", page, rows, got)
		}
	}
	f("a\nb\n", 24, "a\x1b[K\r\nb\x1b[K\r\n")
	f("a\nb\nc\n", 4, "a\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\n")
	f("a\nb\nc\nd\n", 4, "a\x1b[K\r\nb\x1b[K\r\n... and 2 more lines\x1b[K\r\n")
	f("a\nb\nc\nd\n", 1, "a\x1b[K\r\n... and 3 more lines\x1b[K\r\n")
}

// A file gets no control characters, and a new page only when something has changed.
func TestShowIntoAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	v := viewer{Show: Show{Watch: true}, out: out}
	o := overview.Overview{Started: now, Revision: 1, Synced: true}
	for _, step := range []struct {
		revision uint64
		failed   error
	}{{1, nil}, {1, nil}, {2, fmt.Errorf("gone")}, {2, nil}, {2, nil}} {
		o.Revision = step.revision
		if err := v.show(o, nil, step.failed); err != nil {
			t.Fatal(err)
		}
	}
	o.Started = now.Add(time.Second) // another run of the supervisor, at the same revision
	if err := v.show(o, nil, nil); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if n := strings.Count(string(text), "No apps."); n != 3 || strings.Contains(string(text), "\x1b") {
		t.Errorf("%d pages in %q", n, text)
	}
}

func TestShowOnce(t *testing.T) {
	address := serve(t, &memory{})
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := New(address, "right", 5*time.Second).Show(context.Background(), Show{JSON: true}, out); err != nil {
		t.Fatal(err)
	}
	var o overview.Overview
	if text, _ := os.ReadFile(path); json.Unmarshal(text, &o) != nil || o.Device.Name != "holy-moon" || o.Started.IsZero() {
		t.Errorf("JSON %q", text)
	}
	// A wrong key ends a watch, because a retry cannot help.
	err = New(address, "wrong", 5*time.Second).Show(context.Background(), Show{Watch: true}, out)
	if !isRefusal(err) {
		t.Errorf("got %v", err)
	}
}
