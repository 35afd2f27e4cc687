package api

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// How many endless answers run at once. Each answer of the journal runs journalctl on the host, which takes several
// megabytes.
const (
	maxLogStreams     = 256
	maxJournalStreams = 8
)

// stream is the body of an answer that goes on until its source ends or the client closes the connection.
type stream struct {
	mediaType    string
	source       io.ReadCloser
	ctx          context.Context // its end ends the stream
	slots        chan struct{}   // the stream takes one entry out when it has ended
	writeTimeout time.Duration   // of one write
}

func (s *stream) contentType() string { return s.mediaType }

// stream answers with what open returns, unless all slots are taken.
func (h *handlers) stream(mediaType string, slots chan struct{}, open func() (io.ReadCloser, error)) Answer {
	select {
	case slots <- struct{}{}:
	default:
		return fail(fasthttp.StatusServiceUnavailable, textBusy)
	}
	source, err := open()
	if err != nil {
		<-slots
		return actionError(err)
	}
	return Answer{fasthttp.StatusOK, &stream{mediaType, source, h.ctx, slots, h.writeTimeout}}
}

// write sends the source as it comes, and closes it when the client closes the connection. The connection ends with
// the answer, so what the client sends meanwhile is dropped.
func (s *stream) write(ctx *fasthttp.RequestCtx) {
	source := &streamSource{ReadCloser: s.source, slots: s.slots}
	source.stop = context.AfterFunc(s.ctx, source.end)
	ctx.SetConnectionClose()
	ctx.Response.ImmediateHeaderFlush = true
	c := connOf(ctx)
	c.streamTimeout = s.writeTimeout
	_ = c.Conn.SetReadDeadline(time.Time{})
	go source.endWithClient(c.Conn)
	if !ctx.Request.Header.IsHTTP11() {
		s.writeHTTP10(c, source, ctx.IsHead())
		return
	}
	ctx.Response.SetBodyStream(source, -1)
}

// writeHTTP10 sends the whole answer to a client of HTTP/1.0, which does not know chunks: the body lasts until the
// connection ends. It closes the connection, so fasthttp cannot send the answer in chunks afterwards.
func (s *stream) writeHTTP10(to *conn, from io.ReadCloser, headOnly bool) {
	_, err := io.WriteString(to, "HTTP/1.1 200 OK\r\nContent-Type: "+s.mediaType+"\r\nConnection: close\r\n\r\n")
	if err == nil && !headOnly {
		_, _ = io.CopyBuffer(to, from, make([]byte, shortHead))
	}
	_ = from.Close()
	_ = to.Conn.Close()
}

// streamSource closes its source once, however many callers end it.
type streamSource struct {
	io.ReadCloser
	once  sync.Once
	stop  func() bool
	slots chan struct{}
	err   error
}

// Close is called by fasthttp when the answer has ended.
func (s *streamSource) Close() error {
	s.end()
	return s.err
}

func (s *streamSource) end() {
	s.once.Do(func() {
		s.err = s.ReadCloser.Close()
		<-s.slots
	})
}

// endWithClient ends the source when the client, or the server, closes the connection.
func (s *streamSource) endWithClient(client io.Reader) {
	var dropped [64]byte
	for {
		if _, err := client.Read(dropped[:]); err != nil {
			s.stop()
			s.end()
			return
		}
	}
}
