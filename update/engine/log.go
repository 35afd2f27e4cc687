package engine

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// LogOptions says which part of a container's output to read.
type LogOptions struct {
	Tty    bool      // the container's Config.Tty: the output has no frames
	Follow bool      // wait for more output until the container ends
	Since  time.Time // skip older lines; zero: skip none
	Tail   int       // read only so many of the lines that are already there; 0: all
}

// LogLine is one line of output without the line end. A line of more than 16 KiB comes in pieces.
type LogLine struct {
	Stderr bool      // always false with Tty, where both outputs are one
	At     time.Time // zero in the later pieces of a line that the engine did not split itself
	Text   []byte    // valid until the call returns
	Rest   bool      // continues the line of the piece before
}

// Logs calls fn with each line of a container's output (docs/spec/engine.md 1.6). It returns nil at the end of the output.
// With Follow that is when the container stops.
func (c *Client) Logs(ctx context.Context, id string, o LogOptions, fn func(LogLine)) error {
	q := query("stdout", "1", "stderr", "1", "timestamps", "1",
		"follow", flag(o.Follow), "since", instant(o.Since), "tail", tail(o.Tail))
	r := get("follow logs", "/containers/"+id+"/logs", q).about(id).within(0)
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer a.close()
	d, fault := newDecoder(o.Tty, fn), ""
	if err = readAll(a.body, d.write); err == nil {
		fault, err = d.end()
	}
	switch {
	case err != nil:
		return c.transportError(ctx, r, err)
	case fault != "":
		return r.fail(fasthttp.StatusInternalServerError, fault)
	}
	return nil
}

// decoder splits output into lines. At the end, fault is the engine's own error message, if there is one.
type decoder interface {
	write(p []byte) error
	end() (fault string, err error)
}

func newDecoder(tty bool, fn func(LogLine)) decoder {
	if tty {
		return &lines{fn: fn}
	}
	return newFrames(fn)
}

// readAll passes all of body to write. The buffer is small because each followed container has one.
func readAll(body io.Reader, write func([]byte) error) error {
	buf := make([]byte, 512)
	for {
		n, err := body.Read(buf)
		if bad := write(buf[:n]); bad != nil {
			return bad
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func tail(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}
