package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/api"
)

// Show says how the status command shows the device.
type Show struct {
	Watch bool // again and again, until the end
	JSON  bool // as the API tells it, one line each time
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
			return s, fmt.Errorf("status does not know %q, see resin-supervisor -h", flag)
		}
	}
	return s, nil
}

// pace is how often a watched device is asked again.
const pace = 2 * time.Second

// Show writes how the device is to out, once or until ctx ends. On a terminal a watched page is drawn
// over the one before, and cut to the terminal's height. Elsewhere, and as JSON, it is written again
// when something has changed. While the supervisor does not answer, watching goes on.
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
		case <-time.After(pace):
		}
	}
}

// isRefusal tells whether the supervisor will not answer the next time either.
func isRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status < 500
}

// viewer shows a device one or more times.
type viewer struct {
	Show
	out   *os.File
	shown bool
	last  [2]int64 // start and revision of what was shown
}

// show shows an overview, or that there is none.
func (v *viewer) show(o api.Overview, text []byte, failed error) error {
	rows, terminal := 0, false
	if v.Watch && !v.JSON {
		rows, terminal = height(v.out)
	}
	now := [2]int64{o.Started.UnixNano(), int64(o.Revision)}
	switch {
	case terminal && failed != nil:
		return v.write(redrawn(plain("No answer, trying again: "+failed.Error())+"\n", rows))
	case terminal:
		return v.write(redrawn(Page(o), rows))
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

// height is how many lines a terminal has; false when the file is none. A serial console often does
// not know its size, and has 24.
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

// redrawn is a page with what draws it over the one before: from the top, each line erased to its
// end, and all below the last line.
func redrawn(page string, rows int) string {
	lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
	if fit := max(rows-1, 2); len(lines) > fit {
		lines = append(lines[:fit-1:fit-1], fmt.Sprintf("... and %d more lines", len(lines)-fit+1))
	}
	return "\x1b[H" + strings.Join(lines, "\x1b[K\r\n") + "\x1b[K\r\n\x1b[J"
}
