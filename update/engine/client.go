// Package engine is the client of the container engine (Docker, balenaEngine, Podman). It has one method for each call of
// the engine's HTTP API (docs/spec/engine.md section 1), and uses the engine's unix socket.
//
// Each call opens a connection and closes it at its end. So an engine restart leaves no stale connection, closing the
// connection cancels a call (this is how a pull is stopped), and no goroutine or timer runs between calls.
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
	maxAnswer = 16 << 20 // bytes of an answer that is read as a whole
	maxReason = 64 << 10 // bytes of an error body

	// The engine answers a read from its memory. A change may copy a whole image to slow storage.
	readTimeout   = time.Minute
	changeTimeout = 10 * time.Minute

	// The engine tries several addresses and protocols of a registry that does not answer.
	registryTimeout = 3 * time.Minute
)

// Client calls one engine. It is safe for use by several goroutines.
type Client struct {
	socket  string
	version atomic.Pointer[apiVersion] // nil: not negotiated yet
	calls   atomic.Uint64
	errors  atomic.Uint64
}

// Calls returns the number of calls so far, and how many of them failed: the engine did not answer, or answered with a
// status of 500 or above.
func (c *Client) Calls() (made, failed uint64) { return c.calls.Load(), c.errors.Load() }

// New returns a client of the engine that listens on socket, a path or a unix:// address. It does no I/O.
func New(socket string) *Client {
	return &Client{socket: strings.TrimPrefix(socket, "unix://")}
}

// answer is the answer of the engine, whose body is not read yet. The caller must close it.
type answer struct {
	status int
	body   io.Reader
	conn   net.Conn
	detach func() bool // stops watching the context
}

func (a *answer) close() {
	a.detach()
	a.conn.Close()
}

// do makes a call and decodes the JSON answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, r request, out any) error {
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	return c.decode(ctx, r, a, out)
}

// bodies are buffers for answers. Growing a new one would be most of what a call allocates.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// decode reads the whole answer, closes it, and decodes the JSON into out, unless out is nil.
func (c *Client) decode(ctx context.Context, r request, a *answer, out any) error {
	defer a.close()
	if a.status >= 300 { // an allowed status, such as 304: nothing to decode
		return nil
	}
	body := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	_, err := body.ReadFrom(io.LimitReader(a.body, maxAnswer+1))
	switch {
	case err != nil:
		return c.transportError(ctx, r, err)
	case body.Len() > maxAnswer:
		return r.fail(0, "answer is too long")
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body.Bytes(), out); err != nil {
		return r.fail(0, "cannot decode the answer: "+err.Error())
	}
	return nil
}

// open makes a call with the version prefix. It returns as soon as the head of the answer reports success.
func (c *Client) open(ctx context.Context, r request) (*answer, error) {
	v, err := c.apiVersion(ctx)
	if err != nil {
		return nil, err
	}
	return c.exchange(ctx, r, v.prefix)
}

// exchange sends r on a new connection and reads the head of the answer. The end of ctx closes the connection, also while
// the body is read.
func (c *Client) exchange(ctx context.Context, r request, prefix string) (*answer, error) {
	req, err := r.encode(prefix)
	if err != nil {
		return nil, err
	}
	c.calls.Add(1)
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, c.transportError(ctx, r, err)
	}
	if r.timeout > 0 {
		_ = conn.SetDeadline(time.Now().Add(r.timeout))
	}
	a := &answer{conn: conn, detach: context.AfterFunc(ctx, func() { conn.Close() })}
	if err := a.begin(req); err != nil {
		a.close()
		return nil, c.transportError(ctx, r, err)
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

// begin writes the request and reads the head of the answer. The engine may answer and close the connection before it has
// read all of an archive: then the write fails with EPIPE.
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

// reason is the error message of a refused call, or the part of it that arrived before the connection broke.
func (a *answer) reason() string {
	text, _ := a.read(maxReason)
	return reasonOf(a.status, text)
}

// transportError is the error of a call without a complete answer. The reason may be that the engine was replaced by
// another version, so the next call negotiates the version again.
func (c *Client) transportError(ctx context.Context, r request, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	} else {
		c.version.Store(nil)
		c.errors.Add(1)
	}
	return &Error{Op: r.op, Object: r.object, Message: transportReason(err, r.timeout), cause: err}
}
