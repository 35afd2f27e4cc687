// Package engine speaks to the container engine (Docker, balenaEngine, Podman) over its unix
// socket: one method for each call of the engine's HTTP API (docs/spec/engine.md section 1).
//
// Each call has a connection of its own, which is closed with it. Thus nothing is kept alive that
// an engine restart could make stale, a call that ends early tells the engine so at once (this is
// how a pull is stopped), and between calls there is neither a goroutine nor a timer.
//
// Every error is an *Error.
package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	maxAnswer = 16 << 20 // bytes of an answer that is read whole
	maxReason = 64 << 10 // bytes of an error body that are looked at

	// A read is answered from the engine's memory; a change may move a whole image or wait for
	// the storage of a slow board. Both only bound an engine that hangs.
	readPatience   = time.Minute
	changePatience = 10 * time.Minute

	// A registry that does not answer is asked at several addresses, in several ways.
	registryPatience = 3 * time.Minute
)

// Client calls one engine. It is safe for use by several goroutines.
type Client struct {
	socket string
	spoken atomic.Pointer[dialect] // nil: to be asked for
	calls  atomic.Uint64
	errors atomic.Uint64
}

// Calls tells how many calls were made so far, and how many of them the engine did not answer or
// could not carry out (a status from 500 on).
func (c *Client) Calls() (made, failed uint64) { return c.calls.Load(), c.errors.Load() }

// New returns a client of the engine that listens on socket, a path or a unix:// address. It does
// no I/O.
func New(socket string) *Client {
	return &Client{socket: strings.TrimPrefix(socket, "unix://")}
}

// answer is an accepted call whose body has not been read yet. It must be closed.
type answer struct {
	status int
	body   io.Reader
	conn   net.Conn
	detach func() bool // ends the watch on the context
}

func (a *answer) close() {
	a.detach()
	a.conn.Close()
}

// do makes a call and decodes the answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, r request, out any) error {
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	return c.decode(ctx, r, a, out)
}

// bodies are buffers for answers, whose growth would be most of what a call allocates.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// decode reads the whole answer, closes it, and decodes it into out, unless out is nil.
func (c *Client) decode(ctx context.Context, r request, a *answer, out any) error {
	defer a.close()
	if a.status >= 300 { // there was nothing to do, which leaves out as it is
		return nil
	}
	body := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	_, err := body.ReadFrom(io.LimitReader(a.body, maxAnswer+1))
	switch {
	case err != nil:
		return c.cut(ctx, r, err)
	case body.Len() > maxAnswer:
		return r.fail(0, "answer is too long")
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body.Bytes(), out); err != nil {
		return r.fail(0, "answer: "+err.Error())
	}
	return nil
}

// open makes a call with the version prefix and returns the answer once its head is there and
// says success.
func (c *Client) open(ctx context.Context, r request) (*answer, error) {
	d, err := c.dialect(ctx)
	if err != nil {
		return nil, err
	}
	return c.exchange(ctx, r, d.prefix)
}

// exchange sends r on a new connection and reads the head of the answer. From then on the end of
// ctx closes the connection, whatever is being read.
func (c *Client) exchange(ctx context.Context, r request, prefix string) (*answer, error) {
	req, err := r.encode(prefix)
	if err != nil {
		return nil, err
	}
	c.calls.Add(1)
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, c.cut(ctx, r, err)
	}
	if r.patience > 0 {
		_ = conn.SetDeadline(time.Now().Add(r.patience))
	}
	a := &answer{conn: conn, detach: context.AfterFunc(ctx, func() { conn.Close() })}
	if err := a.begin(req); err != nil {
		a.close()
		return nil, c.cut(ctx, r, err)
	}
	if !r.accepts(a.status) {
		defer a.close()
		if a.status >= fasthttp.StatusInternalServerError {
			c.errors.Add(1)
		}
		return nil, r.fail(a.status, a.reason())
	}
	return a, nil
}

// begin writes the request and reads the head of the answer. An engine that has read enough of an
// archive answers and hangs up.
func (a *answer) begin(req *fasthttp.Request) error {
	if _, err := req.WriteTo(a.conn); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	resp := fasthttp.Response{StreamBody: true}
	if err := resp.Read(bufio.NewReader(a.conn)); err != nil {
		return err
	}
	a.status, a.body = resp.StatusCode(), resp.BodyStream()
	if a.body == nil {
		a.body = strings.NewReader("")
	}
	return nil
}

// read returns the body, at most limit bytes of it.
func (a *answer) read(limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(a.body, limit))
}

// reason is the message of a refused call. What of it arrived before a cut still tells more than
// the bare status.
func (a *answer) reason() string {
	text, _ := a.read(maxReason)
	return reasonOf(a.status, text)
}

// cut is the error of a call that got no whole answer. The engine may have been replaced by
// another version meanwhile, so what it speaks is asked anew.
func (c *Client) cut(ctx context.Context, r request, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	} else {
		c.spoken.Store(nil)
		c.errors.Add(1)
	}
	return &Error{Op: r.op, Object: r.object, Message: cutReason(err, r.patience), cause: err}
}
