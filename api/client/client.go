// Package client is the typed client of the device API, for the commands that query a running supervisor. Each call uses
// a connection of its own.
package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/api/overview"
)

// maxAnswer is the largest size of an answer, in bytes.
const maxAnswer = 16 << 20

// Client talks to one device API.
type Client struct {
	address string
	key     string
	timeout time.Duration
}

// New makes a client of the API at address (host:port). The key may be empty for a call that needs none. A call that
// takes longer than timeout fails.
func New(address, key string, timeout time.Duration) *Client {
	return &Client{address: address, key: key, timeout: timeout}
}

// Error is an answer with a status other than success.
type Error struct {
	Op      string // "GET /v1/device"
	Status  int    // of HTTP
	Message string // from the answer
}

// Error is the operation, the status and the message.
func (e *Error) Error() string { return fmt.Sprintf("%s: %d %s", e.Op, e.Status, e.Message) }

// Healthy fails when the supervisor does not answer, or answers that it is unhealthy.
func (c *Client) Healthy(ctx context.Context) error {
	_, err := c.get(ctx, "/v1/healthy")
	return err
}

// Overview returns all that the supervisor knows, decoded and as JSON. It needs the global key.
func (c *Client) Overview(ctx context.Context) (o overview.Overview, text []byte, err error) {
	text, err = c.fetch(ctx, "/supervisor/v1/status", &o)
	return o, text, err
}

func (c *Client) fetch(ctx context.Context, path string, out any) ([]byte, error) {
	body, err := c.get(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("GET %s: %v", path, err)
	}
	return body, nil
}

// get makes one request over a connection of its own.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	status, body, err := exchange(conn, c.request(path))
	if cause := ctx.Err(); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if status/100 != 2 {
		return nil, &Error{Op: "GET " + path, Status: status, Message: message(body)}
	}
	return body, nil
}

func (c *Client) request(path string) *fasthttp.Request {
	req := new(fasthttp.Request)
	req.SetRequestURI(path)
	req.Header.SetHost(c.address)
	req.SetConnectionClose()
	if c.key != "" {
		req.Header.Set(fasthttp.HeaderAuthorization, "Bearer "+c.key)
	}
	return req
}

func exchange(conn net.Conn, req *fasthttp.Request) (int, []byte, error) {
	w := bufio.NewWriter(conn)
	if err := req.Write(w); err != nil {
		return 0, nil, err
	}
	if err := w.Flush(); err != nil {
		return 0, nil, err
	}
	var resp fasthttp.Response
	if err := resp.ReadLimitBody(bufio.NewReader(conn), maxAnswer); err != nil {
		return 0, nil, err
	}
	return resp.StatusCode(), resp.Body(), nil
}

// message is the message field of an answer, or else its text.
func message(body []byte) string {
	var failure struct{ Message string }
	if json.Unmarshal(body, &failure) == nil && failure.Message != "" {
		return failure.Message
	}
	return strings.TrimSpace(string(body))
}
