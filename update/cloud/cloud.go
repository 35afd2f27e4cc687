// Package cloud talks to the cloud over HTTP: provisioning, polling the target state, reporting the current
// state, tags, the log stream, deltas and registry tokens (docs/spec/cloud.md 0 to 4, A;
// docs/spec/engine.md 8.5).
//
// Calls come in bursts, such as a poll and its report, with minutes of silence between them. KeepAlive keeps
// the connection for the next call of a burst. The connection is closed a few seconds after the burst, to free
// its memory.
package cloud

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// maxAnswer is the largest answer that is read, in bytes after decompression.
const maxAnswer = 4 << 20

// Client calls one origin. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	userAgent string
	trust     *Trust
	keepAlive *KeepAlive
}

// New returns a client of the server at base, an http or https URL. The path of base is the prefix of every
// call's path. agent is the User-Agent header. trust is used for https. Clients may share keepAlive, and it may
// be nil.
func New(base, agent string, trust *Trust, keepAlive *KeepAlive) (*Client, error) {
	u, err := url.Parse(base)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
		err = errors.New("not an http or https URL")
	}
	if err != nil {
		return nil, fmt.Errorf("cloud server %q: %w", base, err)
	}
	return &Client{base: u, userAgent: agent, trust: trust, keepAlive: keepAlive}, nil
}

// call is a request.
type call struct {
	method, path string // GET when method is empty
	query        url.Values
	auth         string // Authorization header, omitted when empty
	accept       string // Accept header, JSON when empty
	byteRange    string // Range header, omitted when empty
	body         any    // sent as JSON unless nil
	etag         string // If-None-Match header
	// timeout limits the whole call. With perStep it limits each read and write, and the whole call may
	// take totalTimeoutFactor times as long: a slow transfer that makes progress may continue.
	timeout time.Duration
	perStep bool
	follow  bool // follow redirects
}

// Get fetches an http or https URL, or only the bytes that byteRange names (Range header). challenge is the
// server's WWW-Authenticate header. A refusal by the server is not an error. Get follows redirects, and
// never sends auth to another host.
func Get(ctx context.Context, agent string, trust *Trust, keepAlive *KeepAlive, u *url.URL, auth, accept, byteRange string) (status int, body []byte, challenge string, err error) {
	c := &Client{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, userAgent: agent, trust: trust, keepAlive: keepAlive}
	a, err := c.do(ctx, call{
		path: u.Path, query: u.Query(), auth: auth, accept: accept, byteRange: byteRange, timeout: defaultTimeout, follow: true,
	})
	return a.status, a.body, a.challenge, err
}

// answer is a response of a server.
type answer struct {
	status     int
	body       []byte
	etag       string
	retryAfter string // Retry-After header
	challenge  string // WWW-Authenticate header
}

// ok reports whether the call succeeded.
func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// statusError is the error of a call that the server answered with an unexpected status.
type statusError struct {
	path string
	answer
}

// Error names the call, the status and the beginning of the body.
func (r *statusError) Error() string {
	text := strings.TrimSpace(string(r.body[:min(len(r.body), 120)]))
	return strings.TrimSpace(r.path + " was answered with " + strconv.Itoa(r.status) + " " + strings.ToValidUTF8(text, ""))
}

// statusOf returns the HTTP status of a statusError, and 0 for any other error.
func statusOf(err error) int {
	if r := (*statusError)(nil); errors.As(err, &r) {
		return r.status
	}
	return 0
}

// totalTimeoutFactor is how many step timeouts a call with perStep may take in total.
const totalTimeoutFactor = 20

// do makes a call and returns the answer, whatever its status. The error means that no complete answer
// came in time.
func (c *Client) do(ctx context.Context, r call) (a answer, err error) {
	total := r.timeout
	if r.perStep {
		total *= totalTimeoutFactor
	}
	limited, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	from := c
	for range maxRedirects {
		var to *url.URL
		if a, to, err = from.roundTrip(limited, &r); err != nil || to == nil {
			break
		}
		if to.Hostname() != from.base.Hostname() {
			r.auth = "" // never send credentials to another host
		}
		r.path, r.query = to.Path, to.Query()
		from = &Client{base: &url.URL{Scheme: to.Scheme, Host: to.Host}, userAgent: c.userAgent, trust: c.trust, keepAlive: c.keepAlive}
	}
	if err == nil {
		return a, nil
	}
	if ended := limited.Err(); ended != nil {
		err = ended
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", r.timeout)
	}
	return answer{}, fmt.Errorf("call %s%s: %w", c.base.Host, r.path, err)
}

const maxRedirects = 5

// keepUnescaped removes the escapes of characters that the cloud API accepts only unescaped. They are legal
// in a URL (docs/spec/host.md 8).
var keepUnescaped = strings.NewReplacer("%28", "(", "%29", ")", "%2C", ",")

func (c *Client) request(r *call) (*fasthttp.Request, error) {
	u := url.URL{Path: strings.TrimRight(c.base.Path, "/") + r.path, RawQuery: strings.ReplaceAll(r.query.Encode(), "+", "%20")}
	req := &fasthttp.Request{}
	if r.method != "" {
		req.Header.SetMethod(r.method)
	}
	req.Header.SetHost(c.base.Host)
	req.Header.SetUserAgent(c.userAgent)
	for _, field := range [...][2]string{{"Authorization", r.auth}, {"If-None-Match", r.etag}, {"Range", r.byteRange}} {
		if field[1] != "" {
			req.Header.Set(field[0], field[1])
		}
	}
	req.Header.Set("Accept", cmp.Or(r.accept, "application/json"))
	req.Header.Set("Accept-Encoding", "gzip")
	req.SetRequestURI(keepUnescaped.Replace(u.RequestURI()))
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		req.Header.SetContentType("application/json")
		req.SetBodyRaw(raw)
	}
	return req, nil
}

// roundTrip sends a request and reads the answer. to is the target of a redirect. The server may have just closed
// a connection that an earlier call left: when no byte of an answer came, the request is sent again on a new
// connection. Every call may safely be sent twice: reports, tags and names describe a state, and the cloud
// answers a repeated step of provisioning with 409 or 200.
func (c *Client) roundTrip(ctx context.Context, r *call) (a answer, to *url.URL, err error) {
	req, err := c.request(r)
	if err != nil {
		return a, nil, err
	}
	defer c.keepAlive.ended()
	if conn := c.keepAlive.take(c.origin()); conn != nil {
		in := &trackedReader{}
		a, to, err = c.roundTripOn(ctx, conn, in, req, r)
		if err == nil || in.gotData || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return a, to, err
		}
	}
	dialing, cancel := context.WithTimeout(ctx, r.timeout)
	conn, err := c.dial(dialing)
	cancel()
	if err != nil {
		return a, nil, err
	}
	return c.roundTripOn(ctx, conn, &trackedReader{}, req, r)
}

// origin is the key of the client's kept connection.
func (c *Client) origin() string { return c.base.Scheme + "://" + c.base.Host }

// roundTripOn makes a call over a connection, which the end of ctx closes. Afterwards the connection is kept for
// the next call, or closed if it cannot be reused.
func (c *Client) roundTripOn(ctx context.Context, conn net.Conn, in *trackedReader, req *fasthttp.Request, r *call) (a answer, to *url.URL, err error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	timed := conn
	if r.perStep {
		timed = stepTimeoutConn{conn, r.timeout}
	}
	in.Reader = timed
	reusable := false
	if _, err = req.WriteTo(timed); err == nil {
		a, to, reusable, err = c.receive(in, r)
	}
	if stop() && reusable && conn.SetDeadline(time.Time{}) == nil {
		c.keepAlive.keep(c.origin(), conn)
	} else {
		conn.Close()
	}
	return a, to, err
}

// receive reads the answer to a call. reusable means that another call may use the connection.
func (c *Client) receive(from *trackedReader, r *call) (a answer, to *url.URL, reusable bool, err error) {
	resp, in := fasthttp.Response{StreamBody: true}, bufio.NewReaderSize(from, maxHead)
	if err := resp.Read(in); err != nil {
		return a, nil, false, from.readError(err)
	}
	a.status, a.etag, a.retryAfter = resp.StatusCode(), string(resp.Header.Peek("ETag")), string(resp.Header.Peek("Retry-After"))
	if r.follow && a.status >= 301 && a.status <= 308 && a.status != fasthttp.StatusNotModified {
		to, err = c.base.Parse(string(resp.Header.Peek("Location")))
		if err != nil || to.Scheme != "https" && c.base.Scheme == "https" || to.Host == "" {
			err = errors.New("the server redirects to an invalid URL, or from https to http")
		}
		return a, to, false, err
	}
	a.challenge = string(resp.Header.Peek("WWW-Authenticate"))
	if r.byteRange != "" && a.status == fasthttp.StatusOK {
		return a, nil, false, nil // the server ignored the range: do not download everything
	}
	end := error(io.EOF)
	if stream := resp.BodyStream(); stream != nil {
		a.body, err = readAnswer(&bodyReader{Reader: stream, from: from}, string(resp.Header.Peek("Content-Encoding")))
		if err == nil {
			_, end = stream.Read(make([]byte, 1))
		}
	}
	return a, nil, err == nil && end == io.EOF && !resp.ConnectionClose() && in.Buffered() == 0, err
}

// maxHead is the largest head of an answer, in bytes. Proxies add their own cookies and policies.
const maxHead = 16 << 10

// trackedReader reads from a connection and remembers the first error.
type trackedReader struct {
	io.Reader
	gotData bool
	err     error
}

// Read reads from the connection.
func (s *trackedReader) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.gotData = s.gotData || n > 0
	if err != nil {
		s.err = err
	}
	return n, err
}

// readError says why an answer cannot be read. It replaces the parser's error, which quotes the head of the
// answer with its cookies and must not be logged.
func (s *trackedReader) readError(err error) error {
	long := (*fasthttp.ErrSmallBuffer)(nil)
	switch {
	case errors.As(err, &long):
		return errors.New("the head of the answer is longer than 16 kB")
	case s.err == nil:
		return errors.New("the answer is not HTTP")
	case s.err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return s.err
}

// bodyReader reads the body of an answer.
type bodyReader struct {
	io.Reader
	from *trackedReader
}

// Read reads from the body.
func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = b.from.readError(err)
	}
	return n, err
}

// readAnswer reads a body that may be compressed.
func readAnswer(stream io.Reader, encoding string) ([]byte, error) {
	if encoding == "gzip" {
		unpacked, err := gzip.NewReader(stream)
		if err != nil {
			return nil, err
		}
		stream = unpacked
	}
	body, err := io.ReadAll(io.LimitReader(stream, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is longer than 4 MiB")
	}
	return body, err
}

// stepTimeoutConn is a connection with a timeout for each read and write.
type stepTimeoutConn struct {
	net.Conn
	timeout time.Duration
}

// Read reads with the timeout.
func (c stepTimeoutConn) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.timeout))
	return c.Conn.Read(p)
}

// Write writes with the timeout.
func (c stepTimeoutConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.timeout))
	return c.Conn.Write(p)
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
	address := net.JoinHostPort(c.base.Hostname(), port)
	if !secure {
		return Dial(ctx, "tcp", address)
	}
	if roots := c.trust.usedRoots(); roots != nil {
		if conn, err := c.secure(ctx, address, roots); !isCertificateError(err) {
			return conn, err
		}
	}
	return c.secure(ctx, address, c.trust.all())
}

// secure connects over TLS, verifies the server by roots, and remembers the root that it used.
func (c *Client) secure(ctx context.Context, address string, roots *x509.CertPool) (net.Conn, error) {
	conn, err := Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	wrapped := tls.Client(conn, &tls.Config{ServerName: c.base.Hostname(), RootCAs: roots})
	if err := wrapped.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	c.trust.learn(wrapped.ConnectionState().VerifiedChains)
	return wrapped, nil
}
