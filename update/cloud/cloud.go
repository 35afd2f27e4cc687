// Package cloud is what talks to the cloud over HTTP: provisioning, the poll of the target state, the
// report of the current state, tags, the log stream, deltas and registry tokens (docs/spec/cloud.md 0 to 4,
// A; docs/spec/engine.md 8.5).
//
// Calls come in bursts, such as a poll and its report, and then there is none for minutes. So a connection is kept
// for the next call, and closed after a few seconds (KeepAlive): until the next burst it would only cost memory.
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

// maxAnswer is how many bytes of an answer are read, uncompressed.
const maxAnswer = 4 << 20

// Client calls one origin. It is safe for use by several goroutines.
type Client struct {
	_ [0]func() // nobody compares it: no code for that

	base      *url.URL
	agent     string
	trust     *Trust
	keepAlive *KeepAlive
}

// New returns a client of the server at base, an http or https URL whose path, if any, goes before
// that of every call. agent is the User-Agent; trust is for https; keepAlive, which clients may share, may be nil.
func New(base, agent string, trust *Trust, keepAlive *KeepAlive) (*Client, error) {
	u, err := url.Parse(base)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
		err = errors.New("not an http or https URL")
	}
	if err != nil {
		return nil, fmt.Errorf("cloud server %q: %w", base, err)
	}
	return &Client{base: u, agent: agent, trust: trust, keepAlive: keepAlive}, nil
}

// call is a request. Without a method it is a GET.
type call struct {
	method, path string
	query        url.Values
	auth         string // Authorization, none when empty
	accept       string // what is understood, JSON when empty
	part         string // Range, all when empty
	body         any    // sent as JSON unless nil
	etag         string // If-None-Match
	// patience bounds the whole call; of one that is steady, each step of it, and the whole more
	// generously: as long as bytes come, it may take its time.
	patience time.Duration
	steady   bool
	follow   bool // redirects are followed
}

// Get asks the server of an http or https URL for what the URL names, or only for a part of it (Range).
// challenge is what the server wants to know of who asks (WWW-Authenticate). It is no error that the
// server refuses. Redirects are followed; another host is not shown auth.
func Get(ctx context.Context, agent string, trust *Trust, keepAlive *KeepAlive, u *url.URL, auth, accept, part string) (status int, body []byte, challenge string, err error) {
	c := &Client{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, agent: agent, trust: trust, keepAlive: keepAlive}
	a, err := c.do(ctx, call{path: u.Path, query: u.Query(), auth: auth, accept: accept, part: part, patience: usualPatience, follow: true})
	return a.status, a.body, a.challenge, err
}

// answer is what came back.
type answer struct {
	status int
	body   []byte
	etag   string
	after  string // Retry-After

	challenge string // WWW-Authenticate
}

// ok tells whether the call was carried out.
func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// refusal is the error of a call that was answered, but not as it should have been.
type refusal struct {
	path string
	answer
}

// Error names the call and begins with what the server said.
func (r *refusal) Error() string {
	text := strings.TrimSpace(string(r.body[:min(len(r.body), 120)]))
	return strings.TrimSpace(r.path + " was answered with " + strconv.Itoa(r.status) + " " + strings.ToValidUTF8(text, ""))
}

// refused is the status of an answer that is the error, 0 for any other.
func refused(err error) int {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.status
	}
	return 0
}

// slack is how much longer than one step of it a steady call may take as a whole.
const slack = 20

// do makes a call and returns the answer, whatever its status. The error says that no whole answer
// came in time.
func (c *Client) do(ctx context.Context, r call) (a answer, err error) {
	whole := r.patience
	if r.steady {
		whole *= slack
	}
	limited, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	from := c
	for range maxRedirects {
		var to *url.URL
		if a, to, err = from.exchange(limited, &r); err != nil || to == nil {
			break
		}
		if to.Hostname() != from.base.Hostname() {
			r.auth = "" // it is not for others to see
		}
		r.path, r.query = to.Path, to.Query()
		from = &Client{base: &url.URL{Scheme: to.Scheme, Host: to.Host}, agent: c.agent, trust: c.trust, keepAlive: c.keepAlive}
	}
	if err == nil {
		return a, nil
	}
	if ended := limited.Err(); ended != nil {
		err = ended
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", r.patience)
	}
	return answer{}, fmt.Errorf("call %s%s: %w", c.base.Host, r.path, err)
}

const maxRedirects = 5

// asTheyAre undoes the escapes of the bytes that the cloud API takes only as they are. They need none anywhere
// in a URL (docs/spec/host.md 8).
var asTheyAre = strings.NewReplacer("%28", "(", "%29", ")", "%2C", ",")

func (c *Client) request(r *call) (*fasthttp.Request, error) {
	u := url.URL{Path: strings.TrimRight(c.base.Path, "/") + r.path, RawQuery: strings.ReplaceAll(r.query.Encode(), "+", "%20")}
	req := &fasthttp.Request{}
	if r.method != "" {
		req.Header.SetMethod(r.method)
	}
	req.Header.SetHost(c.base.Host)
	req.Header.SetUserAgent(c.agent)
	for _, field := range [...][2]string{{"Authorization", r.auth}, {"If-None-Match", r.etag}, {"Range", r.part}} {
		if field[1] != "" {
			req.Header.Set(field[0], field[1])
		}
	}
	req.Header.Set("Accept", cmp.Or(r.accept, "application/json"))
	req.Header.Set("Accept-Encoding", "gzip")
	req.SetRequestURI(asTheyAre.Replace(u.RequestURI()))
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

// exchange sends a request and reads the answer. to is where it is to be asked again instead. A connection of an
// earlier call may have been closed by the server in the very moment: without a byte of an answer the request is
// sent again on a new one. That is safe whatever it was, since every call may come twice: reports, tags and
// names say how things are, and an agent that loses power in the middle repeats each step of provisioning, which
// the cloud then answers with 409 or 200.
func (c *Client) exchange(ctx context.Context, r *call) (a answer, to *url.URL, err error) {
	req, err := c.request(r)
	if err != nil {
		return a, nil, err
	}
	defer c.keepAlive.ended()
	if conn := c.keepAlive.take(c.origin()); conn != nil {
		in := &source{}
		a, to, err = c.converse(ctx, conn, in, req, r)
		if err == nil || in.began || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return a, to, err
		}
	}
	dialing, cancel := context.WithTimeout(ctx, r.patience)
	conn, err := c.dial(dialing)
	cancel()
	if err != nil {
		return a, nil, err
	}
	return c.converse(ctx, conn, &source{}, req, r)
}

// origin tells connections apart.
func (c *Client) origin() string { return c.base.Scheme + "://" + c.base.Host }

// converse makes a call over a connection, which the end of ctx closes. Afterwards the connection is kept for the
// next call, or closed when it cannot be used again.
func (c *Client) converse(ctx context.Context, conn net.Conn, in *source, req *fasthttp.Request, r *call) (a answer, to *url.URL, err error) {
	goOn := context.AfterFunc(ctx, func() { conn.Close() })
	timed := conn
	if r.steady {
		timed = impatient{conn, r.patience}
	}
	in.Reader = timed
	whole := false
	if _, err = req.WriteTo(timed); err == nil {
		a, to, whole, err = c.receive(in, r)
	}
	if goOn() && whole && conn.SetDeadline(time.Time{}) == nil {
		c.keepAlive.keep(c.origin(), conn)
	} else {
		conn.Close()
	}
	return a, to, err
}

// receive reads the answer to a call. whole tells whether another call may follow on the connection.
func (c *Client) receive(from *source, r *call) (a answer, to *url.URL, whole bool, err error) {
	resp, in := fasthttp.Response{StreamBody: true}, bufio.NewReaderSize(from, maxHead)
	if err := resp.Read(in); err != nil {
		return a, nil, false, from.cause(err)
	}
	a.status, a.etag, a.after = resp.StatusCode(), string(resp.Header.Peek("ETag")), string(resp.Header.Peek("Retry-After"))
	if r.follow && a.status >= 301 && a.status <= 308 && a.status != fasthttp.StatusNotModified {
		to, err = c.base.Parse(string(resp.Header.Peek("Location")))
		if err != nil || to.Scheme != "https" && c.base.Scheme == "https" || to.Host == "" {
			err = errors.New("redirected to where it is not followed: to no server, or from https to http")
		}
		return a, to, false, err
	}
	a.challenge = string(resp.Header.Peek("WWW-Authenticate"))
	if r.part != "" && a.status == fasthttp.StatusOK {
		return a, nil, false, nil // all of it is too much
	}
	end := error(io.EOF)
	if stream := resp.BodyStream(); stream != nil {
		a.body, err = readAnswer(&bodySource{Reader: stream, from: from}, string(resp.Header.Peek("Content-Encoding")))
		if err == nil {
			_, end = stream.Read(make([]byte, 1))
		}
	}
	return a, nil, err == nil && end == io.EOF && !resp.ConnectionClose() && in.Buffered() == 0, err
}

// maxHead is how many bytes the head of an answer may have: proxies add cookies and policies of their own.
const maxHead = 16 << 10

// source is a connection that remembers why no more came from it.
type source struct {
	_ [0]func() // nobody compares it: no code for that

	io.Reader
	began bool // something came
	err   error
}

// Read reads from the connection.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.began = s.began || n > 0
	if err != nil {
		s.err = err
	}
	return n, err
}

// cause says why an answer cannot be read. The error of who parsed it is not for a log: it quotes the head of the
// answer, which has cookies in it.
func (s *source) cause(err error) error {
	long := (*fasthttp.ErrSmallBuffer)(nil)
	switch {
	case errors.As(err, &long):
		return errors.New("the head of the answer is longer than 16 kB")
	case s.err == nil:
		return errors.New("the answer is no HTTP")
	case s.err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return s.err
}

// bodySource is the body of an answer.
type bodySource struct {
	_ [0]func() // nobody compares it: no code for that

	io.Reader
	from *source
}

// Read reads from the body.
func (b *bodySource) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = b.from.cause(err)
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
		err = errors.New("answer is too long")
	}
	return body, err
}

// impatient is a connection whose reads and writes must each get on within a span.
type impatient struct {
	net.Conn
	span time.Duration
}

// Read waits for bytes no longer than the span.
func (c impatient) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.span))
	return c.Conn.Read(p)
}

// Write waits for room no longer than the span.
func (c impatient) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.span))
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
	if roots := c.trust.known(); roots != nil {
		if conn, err := c.secure(ctx, address, roots); !unverified(err) {
			return conn, err
		}
	}
	return c.secure(ctx, address, c.trust.all())
}

// secure connects to a server that one of the roots vouches for, and keeps that one in mind.
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
