package api

import (
	"errors"
	"io"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// maxDiscard is how much of a body that no handler reads is discarded, in bytes. Without that the client would lose
// its answer, because the kernel resets a connection that is closed with unread data.
const maxDiscard = 32 << 20

// call is one request as handlers see it. It does not outlive the handler.
type call struct {
	ctx    *fasthttp.RequestCtx
	caller caller
	param  string // the decoded path parameter
	body   fields
	raw    []byte // the body as JSON, empty when there is none
	appID  int    // the app that the request names, where the scope finds one
}

// query is a parameter of the query string, empty when absent.
func (c *call) query(name string) string { return string(c.ctx.QueryArgs().Peek(name)) }

func (c *call) force() bool { return truthy(c.body["force"]) }

// handle serves one request. It keeps nothing that fasthttp owns.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	s.limiter.yield(connOf(ctx))
	started := time.Time{}
	access := s.log.Debug()
	if access.Enabled() {
		started = time.Now()
	}
	a := s.answerSafely(ctx)
	tooLong := ctx.Request.Header.ContentLength() > maxBody
	if !tooLong {
		discardBody(ctx) // an error shows when the answer is written
	}
	a.write(ctx)
	s.handlers.answers.count(a.Status)
	if tooLong {
		s.answerEarly(ctx)
	}
	s.keepAlive(ctx)
	if access.Enabled() {
		access.Bytes("method", ctx.Method()).
			Bytes("path", ctx.URI().PathOriginal()). // without the query, which carries the key
			Int("status", a.Status).
			Int64("ms", time.Since(started).Milliseconds()).
			Msg("api request")
	}
}

// keepAlive tells the client how long it may keep the connection idle, unless the connection ends with the answer.
func (s *Server) keepAlive(ctx *fasthttp.RequestCtx) {
	if s.handlers.ctx.Err() != nil {
		ctx.SetConnectionClose()
	}
	if ctx.Request.ConnectionClose() || ctx.Response.ConnectionClose() {
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderConnection, "keep-alive")
	ctx.Response.Header.Set("Keep-Alive", "timeout="+strconv.Itoa(int(s.limits.keepAlive/time.Second)))
}

// discardBody reads the rest of the body and drops it.
func discardBody(ctx *fasthttp.RequestCtx) {
	if stream := ctx.RequestBodyStream(); stream != nil {
		_, _ = io.CopyN(io.Discard, stream, maxDiscard)
	}
}

// answerEarly sends the answer while the client still sends a body that is too long. It closes the connection when
// the body has come, or the client has closed its side, so fasthttp cannot send the answer a second time.
func (s *Server) answerEarly(ctx *fasthttp.RequestCtx) {
	c := connOf(ctx)
	ctx.SetConnectionClose()
	ctx.Response.SkipBody = ctx.IsHead()
	_ = c.SetWriteDeadline(time.Now().Add(s.limits.write))
	_, err := ctx.Response.WriteTo(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		discardBody(ctx)
	}
	_ = c.Conn.Close()
}

// answerSafely turns a panic into an answer, so no request can end the process.
func (s *Server) answerSafely(ctx *fasthttp.RequestCtx) (a Answer) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error().Interface("reason", cause).Bytes("stack", debug.Stack()).Msg("api handler panicked")
			a = fail(fasthttp.StatusServiceUnavailable, textUnknownError)
		}
	}()
	return s.answer(ctx)
}

// answer takes every request through the same steps: route, key, body, scope, handler. The open routes skip the key.
func (s *Server) answer(ctx *fasthttp.RequestCtx) Answer {
	method, path := string(ctx.Method()), string(ctx.URI().PathOriginal())
	r, param := find(method, path)
	c := &call{ctx: ctx}
	if r == nil || !r.scope.open {
		if refusal, ok := s.handlers.authenticate(c, r); !ok {
			return refusal
		}
	}
	kind := parsed
	if r != nil {
		kind = r.body
	}
	if kind != ignored {
		var err error
		reservation := s.handlers.bodies.newReservation(ctx.Conn())
		defer s.handlers.release(reservation)
		if c.body, c.raw, err = readBody(ctx, &limitsOf[kind], reservation); err != nil {
			return badBody(err)
		}
		if kind != targetBody { // the handler of a target still needs the whole body
			reservation.release()
		}
	}
	if r == nil {
		return noRoute(ctx, method, path)
	}
	return s.run(r, c, param)
}

func badBody(err error) Answer {
	var known *bodyError
	if errors.As(err, &known) {
		return fail(known.code, known.message)
	}
	return fail(fasthttp.StatusBadRequest, err.Error())
}

// noRoute answers OPTIONS with the methods of the path, and any other request with 404.
func noRoute(ctx *fasthttp.RequestCtx, method, path string) Answer {
	if methods := allowed(path); method == fasthttp.MethodOptions && methods != "" {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, methods)
		return textAnswer(fasthttp.StatusOK, methods)
	}
	return fail(fasthttp.StatusNotFound, textNoRoute(method, path))
}

// run decodes the parameter, checks the scope and calls the handler. Until then the connection counts as waiting
// for its client.
func (s *Server) run(r *route, c *call, raw string) Answer {
	var ok bool
	if c.param, ok = unescape(raw); !ok {
		return fail(fasthttp.StatusBadRequest, textBadParam(raw))
	}
	if refusal, ok := r.scope.admit(c); !ok {
		return refusal
	}
	conn := connOf(c.ctx)
	if !r.scope.open && !s.limiter.leaveReserve(conn) {
		c.ctx.SetConnectionClose()
		return fail(fasthttp.StatusServiceUnavailable, textBusy)
	}
	s.limiter.markBusy(conn)
	return r.handler(s.handlers, c)
}

// refuseHead answers a request when fasthttp cannot read its head, or its short body.
func (s *Server) refuseHead(ctx *fasthttp.RequestCtx, err error) {
	code, message := fasthttp.StatusBadRequest, "malformed request"
	var small *fasthttp.ErrSmallBuffer
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &small):
		code, message = fasthttp.StatusRequestHeaderFieldsTooLarge, "request header too large"
		if connOf(ctx).head.refused {
			code, message = fasthttp.StatusServiceUnavailable, textManyLongHeads
		}
	case errors.As(err, &timeout) && timeout.Timeout():
		code, message = fasthttp.StatusRequestTimeout, "request timeout"
	}
	s.handlers.answers.count(code)
	fail(code, message).write(ctx)
}
