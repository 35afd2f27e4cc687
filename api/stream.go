package api

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// How many endless answers are given at once. One of the journal costs a process of the host of several
// megabytes.
const (
	maxStreams  = 256
	maxJournals = 8
)

// stream is the body of an answer that goes on until its source ends or the client goes.
type stream struct {
	kind string // content type
	from io.ReadCloser
	life context.Context // ends the stream
	free chan struct{}   // gives back a place when the stream has ended
	// patience is how long one write may take.
	patience time.Duration
}

func (s *stream) contentType() string { return s.kind }

// stream is an endless answer from what open opens, unless all places for such answers are taken.
func (h *handlers) stream(kind string, places chan struct{}, open func() (io.ReadCloser, error)) Answer {
	select {
	case places <- struct{}{}:
	default:
		return fail(fasthttp.StatusServiceUnavailable, textBusy)
	}
	from, err := open()
	if err != nil {
		<-places
		return problem(err)
	}
	return Answer{fasthttp.StatusOK, &stream{kind, from, h.life, places, h.patience}}
}

// write lets the source be sent as it comes, and closes it when the client goes. The connection ends
// with the answer, so that whatever the client sends meanwhile can be dropped.
func (s *stream) write(ctx *fasthttp.RequestCtx) {
	watched := &watched{ReadCloser: s.from, free: s.free}
	watched.stop = context.AfterFunc(s.life, watched.end)
	ctx.SetConnectionClose()
	ctx.Response.ImmediateHeaderFlush = true
	held := connOf(ctx)
	held.stream = s.patience
	_ = held.Conn.SetReadDeadline(time.Time{})
	go watched.watch(held.Conn)
	if !ctx.Request.Header.IsHTTP11() {
		s.pour(held, watched, ctx.IsHead())
		return
	}
	ctx.Response.SetBodyStream(watched, -1)
}

// pour sends the whole answer to a client of HTTP/1.0, which knows no chunks: what comes is the body, up to the
// end of the connection. fasthttp, which would send it in chunks, finds the connection closed.
func (s *stream) pour(to *conn, from io.ReadCloser, headOnly bool) {
	_, err := io.WriteString(to, "HTTP/1.1 200 OK\r\nContent-Type: "+s.kind+"\r\nConnection: close\r\n\r\n")
	if err == nil && !headOnly {
		_, _ = io.CopyBuffer(to, from, make([]byte, shortHead))
	}
	_ = from.Close()
	_ = to.Conn.Close()
}

// watched is a source that is closed once, by whoever first finds that it is not wanted any more.
type watched struct {
	io.ReadCloser
	once sync.Once
	stop func() bool
	free chan struct{}
	err  error
}

// Close is called by the server when the answer has ended.
func (w *watched) Close() error {
	w.end()
	return w.err
}

func (w *watched) end() {
	w.once.Do(func() {
		w.err = w.ReadCloser.Close()
		<-w.free
	})
}

// watch waits until the client has gone, or the server has closed the connection.
func (w *watched) watch(client io.Reader) {
	var dropped [64]byte
	for {
		if _, err := client.Read(dropped[:]); err != nil {
			w.stop()
			w.end()
			return
		}
	}
}
