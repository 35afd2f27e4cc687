package engine

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// LogOptions choose what of a container's output to read.
type LogOptions struct {
	Tty    bool      // the container's Config.Tty, which decides how the output is framed
	Follow bool      // go on with what is written later, until the container ends
	Since  time.Time // leave out what is older; zero: nothing
	Tail   int       // only this many last lines of the past; 0: all
}

// LogLine is one line of output without its end. A line of more than 16 KiB comes in pieces.
type LogLine struct {
	Stderr bool      // never set with Tty, where both outputs are one
	At     time.Time // zero in the later pieces of a line that the engine did not cut itself
	Text   []byte    // valid until the call returns
	Rest   bool      // goes on with the line of the piece before
}

// Logs calls fn with each line of a container's output (docs/spec/engine.md 1.6). It returns nil when
// the output has ended: without Follow at its present end, with it when the container stops.
func (c *Client) Logs(ctx context.Context, id string, o LogOptions, fn func(LogLine)) error {
	q := query("stdout", "1", "stderr", "1", "timestamps", "1", "follow", flag(o.Follow), "since", instant(o.Since), "tail", tail(o.Tail))
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
		return c.cut(ctx, r, err)
	case fault != "":
		return r.fail(fasthttp.StatusInternalServerError, fault)
	}
	return nil
}

// decoder takes output apart as it arrives. At its end the fault is what the engine itself had to say
// about reading it, if anything.
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
