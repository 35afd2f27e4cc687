// Package cloud is what talks to the cloud over HTTP: today the requests for deltas and the registry
// tokens that go with them (spec/engine.md 8.5, spec/cloud.md 0.2 and A.1).
//
// Each call has a connection of its own, which is closed with it: calls are rare, so a connection
// kept alive would only cost memory, a goroutine and timers.
package cloud

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 1 << 20

// Client calls one origin. It follows no redirects. It is safe for use by several goroutines.
type Client struct {
	base   *url.URL
	agent  string
	verify func() *x509.CertPool
}

// New returns a client of the server at base, an http or https URL whose path, if any, goes before
// that of every call. agent is the User-Agent. roots gives the certificates that a server is trusted
// by; it is asked at each https call.
func New(base, agent string, roots func() *x509.CertPool) (*Client, error) {
	u, err := url.Parse(base)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
		err = errors.New("not an http or https URL")
	}
	if err != nil {
		return nil, fmt.Errorf("cloud server %q: %w", base, err)
	}
	return &Client{base: u, agent: agent, verify: roots}, nil
}

// get makes a call below the base, with the query in the order of its keys, and returns status and
// body. The error says that no whole answer came within patience.
func (c *Client) get(ctx context.Context, path string, query url.Values, authorization string, patience time.Duration) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, body, err = c.exchange(ctx, c.request(path, query, authorization))
	if err == nil {
		return status, body, nil
	}
	if ended := ctx.Err(); ended != nil {
		err = ended
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", patience)
	}
	return 0, nil, fmt.Errorf("call %s%s: %w", c.base.Host, path, err)
}

func (c *Client) request(path string, query url.Values, authorization string) *fasthttp.Request {
	u := url.URL{Path: strings.TrimRight(c.base.Path, "/") + path, RawQuery: query.Encode()}
	req := &fasthttp.Request{}
	req.Header.SetHost(c.base.Host)
	req.Header.SetUserAgent(c.agent)
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Accept", "application/json")
	req.Header.SetConnectionClose()
	req.SetRequestURI(u.RequestURI())
	return req
}

// exchange sends a request on a new connection, which the end of ctx closes, and reads the answer.
func (c *Client) exchange(ctx context.Context, req *fasthttp.Request) (status int, body []byte, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := req.WriteTo(conn); err != nil {
		return 0, nil, err
	}
	resp := fasthttp.Response{StreamBody: true}
	if err := resp.Read(bufio.NewReader(conn)); err != nil {
		return 0, nil, err
	}
	if stream := resp.BodyStream(); stream != nil {
		body, err = io.ReadAll(io.LimitReader(stream, maxAnswer+1))
	}
	if len(body) > maxAnswer {
		err = errors.New("answer is too long")
	}
	return resp.StatusCode(), body, err
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	port, secure := c.base.Port(), c.base.Scheme == "https"
	switch {
	case port != "":
	case secure:
		port = "443"
	default:
		port = "80"
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(c.base.Hostname(), port))
	if err != nil || !secure {
		return conn, err
	}
	wrapped := tls.Client(conn, &tls.Config{ServerName: c.base.Hostname(), RootCAs: c.verify()})
	if err := wrapped.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return wrapped, nil
}
