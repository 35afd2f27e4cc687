package cloud

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// LogStream is an open request whose body is the device's log (docs/spec/cloud.md 5.1). The cloud answers only
// when it ends the stream.
type LogStream struct {
	from  *Client
	ctx   context.Context
	conn  net.Conn
	buf   []byte
	ended chan struct{}
	err   error // set before ended is closed
}

const (
	sendTimeout  = 2 * time.Minute // for each write
	closeTimeout = 2 * time.Second // for each write after the end of the context, and for the answer after the end of the body
)

// LogStream opens the log stream of a device with its key, and returns when the head of the request is sent. After
// the end of ctx writes have only closeTimeout. The caller must close the stream.
func (c *Client) LogStream(ctx context.Context, uuid, key string) (*LogStream, error) {
	dialing, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	conn, err := c.dial(dialing)
	if err != nil {
		return nil, fmt.Errorf("open log stream at %s: %w", c.base.Host, err)
	}
	s := &LogStream{from: c, ctx: ctx, conn: conn, ended: make(chan struct{})}
	head := "POST " + strings.TrimRight(c.base.Path, "/") + "/device/v2/" + uuid + "/log-stream HTTP/1.1\r\nHost: " + c.base.Host +
		"\r\nUser-Agent: " + c.userAgent + "\r\nAuthorization: Bearer " + key +
		"\r\nContent-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
	if err := s.write([]byte(head)); err != nil {
		conn.Close()
		return nil, err
	}
	go s.watch()
	return s, nil
}

// watch waits for an answer or the end of the connection.
func (s *LogStream) watch() {
	defer close(s.ended)
	begin := make([]byte, len("HTTP/1.1 200"))
	_, err := io.ReadFull(s.conn, begin)
	if err == nil {
		status, _ := strconv.Atoi(string(begin[len("HTTP/1.1 "):])) // 0 if the answer is not HTTP
		if status == fasthttp.StatusRequestTimeout {
			return
		}
		err = fmt.Errorf("the cloud answered %d", status)
	}
	s.err = fmt.Errorf("log stream: %w", err)
}

// Write sends a part of the body.
func (s *LogStream) Write(p []byte) (int, error) {
	if len(p) == 0 { // an empty chunk would end the body
		return 0, nil
	}
	s.buf = append(strconv.AppendUint(s.buf[:0], uint64(len(p)), 16), "\r\n"...)
	s.buf = append(append(s.buf, p...), "\r\n"...)
	if err := s.write(s.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *LogStream) write(p []byte) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	defer context.AfterFunc(s.ctx, func() { _ = s.conn.SetWriteDeadline(time.Now().Add(closeTimeout)) })()
	if _, err := s.conn.Write(p); err != nil {
		return fmt.Errorf("log stream: %w", err)
	}
	return nil
}

// Ended is closed when the cloud answered or the connection broke.
func (s *LogStream) Ended() <-chan struct{} { return s.ended }

// Err returns why the stream ended, after Ended is closed. It returns nil when the cloud timed the stream out, which
// it does about every 5 minutes (docs/spec/host.md 8).
func (s *LogStream) Err() error { return s.err }

// Finish ends the body and waits up to closeTimeout for the answer. Otherwise a proxy may drop the request.
func (s *LogStream) Finish() {
	if s.write([]byte("0\r\n\r\n")) != nil {
		return
	}
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
	}
}

// Close closes the connection. Without Finish the body is incomplete and the cloud refuses it.
func (s *LogStream) Close() error {
	defer s.from.keepAlive.ended()
	return s.conn.Close()
}
