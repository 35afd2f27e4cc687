// Package client is the typed client of the device API, for the commands that ask a running
// supervisor how it is. Every call is one connection that is closed when the call returns.
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

	"resin-supervisor/api"
)

// maxAnswer bounds the answer to a call, in bytes.
const maxAnswer = 16 << 20

// Client talks to one device API.
type Client struct {
	address string
	key     string
	timeout time.Duration
}

// New makes a client of the API at address (host:port). The key may be empty where none is needed.
// A call that takes longer than timeout fails.
func New(address, key string, timeout time.Duration) *Client {
	return &Client{address: address, key: key, timeout: timeout}
}

// Error is an answer other than success.
type Error struct {
	Op      string // "GET /v1/device"
	Status  int    // of HTTP
	Message string // from the answer
}

// Error is the operation with what the server said.
func (e *Error) Error() string { return fmt.Sprintf("%s: %d %s", e.Op, e.Status, e.Message) }

// Ping fails when the API does not answer.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.get(ctx, "/ping")
	return err
}

// Healthy fails when the supervisor does not answer or holds itself for unhealthy.
func (c *Client) Healthy(ctx context.Context) error {
	_, err := c.get(ctx, "/v1/healthy")
	return err
}

// Version is the version of the running supervisor.
func (c *Client) Version(ctx context.Context) (string, error) {
	v, err := fetch[struct{ Version string }](ctx, c, "/v2/version")
	return v.Version, err
}

// Device is the device's state.
func (c *Client) Device(ctx context.Context) (api.DeviceState, error) {
	return fetch[api.DeviceState](ctx, c, "/v1/device")
}

// Status tells whether an update runs.
func (c *Client) Status(ctx context.Context) (api.StateStatus, error) {
	return fetch[api.StateStatus](ctx, c, "/v2/state/status")
}

// AppsState tells for each app, by name, how far its target release is.
func (c *Client) AppsState(ctx context.Context) (map[string]api.AppSummary, error) {
	return fetch[map[string]api.AppSummary](ctx, c, "/v2/applications/state")
}

// Overview is everything the supervisor knows; it needs the global key.
func (c *Client) Overview(ctx context.Context) (api.Overview, error) {
	return fetch[api.Overview](ctx, c, "/supervisor/v1/status")
}

func fetch[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	body, err := c.get(ctx, path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("GET %s: %v", path, err)
	}
	return v, nil
}

// get is one request over a connection of its own.
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

// message is what an answer says: its message field, or its text.
func message(body []byte) string {
	var failure struct{ Message string }
	if json.Unmarshal(body, &failure) == nil && failure.Message != "" {
		return failure.Message
	}
	return strings.TrimSpace(string(body))
}
