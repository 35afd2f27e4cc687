package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/api/overview"
)

// Show holds the flags of the status command.
type Show struct {
	Watch bool // until Ctrl-C
	JSON  bool // the answer of the API, in one line
}

// ParseShow reads the flags of the status command.
func ParseShow(flags []string) (Show, error) {
	var s Show
	for _, flag := range flags {
		switch flag {
		case "--watch":
			s.Watch = true
		case "--json":
			s.JSON = true
		default:
			return s, fmt.Errorf("unknown flag %q of status, see resin-supervisor -h", flag)
		}
	}
	return s, nil
}

// watchInterval is the time between two requests of --watch.
const watchInterval = 2 * time.Second

// Show writes the overview to out, once or until ctx ends. On a terminal each page replaces the one before, and is cut
// to the height of the terminal. In a file, and as JSON, a new page follows when something has changed. A watch goes on
// while the supervisor does not answer.
func (c *Client) Show(ctx context.Context, s Show, out *os.File) error {
	v := viewer{Show: s, out: out}
	for {
		o, text, err := c.Overview(ctx)
		if !s.Watch && err != nil || isRefusal(err) {
			return err
		}
		if err = v.show(o, text, err); err != nil || !s.Watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchInterval):
		}
	}
}

// isRefusal tells whether a retry cannot help.
func isRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status < 500
}

// viewer shows the overview one or more times.
type viewer struct {
	Show
	out   *os.File
	shown bool
	last  [2]int64 // start time and revision of the last page
}

// show writes an overview, or the error of the request.
func (v *viewer) show(o overview.Overview, text []byte, failed error) error {
	rows, terminal := 0, false
	if v.Watch && !v.JSON {
		rows, terminal = height(v.out)
	}
	now := [2]int64{o.Started.UnixNano(), int64(o.Revision)}
	switch {
	case terminal && failed != nil:
		return v.write(redraw(plain("No answer, will retry: "+failed.Error())+"\n", rows))
	case terminal:
		return v.write(redraw(Page(o), rows))
	case failed != nil, v.shown && v.last == now:
		return nil
	}
	v.shown, v.last = true, now
	if v.JSON {
		return v.write(string(text) + "\n")
	}
	return v.write(Page(o))
}

func (v *viewer) write(s string) error {
	_, err := v.out.WriteString(s)
	return err
}

// height is the number of lines of a terminal, and false for any other file. A serial console often does not know its
// size: it gets 24 lines.
func height(f *os.File) (rows int, terminal bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	if size.Row == 0 {
		return 24, true
	}
	return int(size.Row), true
}

// redraw adds the control characters that draw a page over the one before: it starts at the top, and erases the rest of
// each line and everything below the last line.
func redraw(page string, rows int) string {
	lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
	if fit := max(rows-1, 2); len(lines) > fit {
		lines = append(lines[:fit-1:fit-1], fmt.Sprintf("... and %d more lines", len(lines)-fit+1))
	}
	return "\x1b[H" + strings.Join(lines, "\x1b[K\r\n") + "\x1b[K\r\n\x1b[J"
}
