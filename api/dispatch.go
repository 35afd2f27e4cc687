package api

import (
	"errors"
	"io"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// maxSkip is how much of a body nobody reads is taken in before the answer, in bytes: closing
// a connection with unread data would take the answer away from the client.
const maxSkip = 32 << 20

// call is one request as handlers see it. It does not outlive the handler.
type call struct {
	ctx    *fasthttp.RequestCtx
	caller caller
	param  string // the decoded path parameter
	body   fields
	raw    []byte // the body as JSON, empty when there is none
	appID  int    // the addressed app, where the scope names one
}

// query is a parameter of the query, empty when absent.
func (c *call) query(name string) string { return string(c.ctx.QueryArgs().Peek(name)) }

func (c *call) force() bool { return truthy(c.body["force"]) }

// handle serves one request. Nothing that fasthttp owns is kept after it returns.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	s.gate.turn(connOf(ctx))
	started := time.Time{}
	access := s.log.Debug()
	if access.Enabled() {
		started = time.Now()
	}
	a := s.guard(ctx)
	tooLong := ctx.Request.Header.ContentLength() > maxBody
	if !tooLong {
		skipBody(ctx) // an error shows when the answer is written
	}
	a.write(ctx)
	s.handlers.answers.count(a.Status)
	if tooLong {
		s.answerFirst(ctx)
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

// keepAlive tells the client for how long it may use the connection, unless it ends with the answer.
func (s *Server) keepAlive(ctx *fasthttp.RequestCtx) {
	if s.handlers.life.Err() != nil {
		ctx.SetConnectionClose()
	}
	if ctx.Request.ConnectionClose() || ctx.Response.ConnectionClose() {
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderConnection, "keep-alive")
	ctx.Response.Header.Set("Keep-Alive", "timeout="+strconv.Itoa(int(s.limits.promised/time.Second)))
}

// skipBody takes in what is left of the body.
func skipBody(ctx *fasthttp.RequestCtx) {
	if stream := ctx.RequestBodyStream(); stream != nil {
		_, _ = io.CopyN(io.Discard, stream, maxSkip)
	}
}

// answerFirst sends the answer while the client still sends a body that is too long, and ends the connection
// when that has come or the client has gone. fasthttp, which would send the answer again, finds it closed.
func (s *Server) answerFirst(ctx *fasthttp.RequestCtx) {
	c := connOf(ctx)
	ctx.SetConnectionClose()
	ctx.Response.SkipBody = ctx.IsHead()
	_ = c.SetWriteDeadline(time.Now().Add(s.limits.write))
	_, err := ctx.Response.WriteTo(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		skipBody(ctx)
	}
	_ = c.Conn.Close()
}

// guard is the panic barrier: no request can end the process.
func (s *Server) guard(ctx *fasthttp.RequestCtx) (a Answer) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error().Interface("reason", cause).Bytes("stack", debug.Stack()).Msg("api handler broke")
			a = fail(fasthttp.StatusServiceUnavailable, textUnknownError)
		}
	}()
	return s.answer(ctx)
}

// answer goes the way of every request: open routes, key, body, route, scope, handler.
func (s *Server) answer(ctx *fasthttp.RequestCtx) Answer {
	method, path := string(ctx.Method()), string(ctx.URI().PathOriginal())
	r, param := find(method, path)
	c := &call{ctx: ctx}
	if r == nil || !r.scope.open {
		if refusal, ok := s.handlers.authenticate(c, r); !ok {
			return refusal
		}
	}
	rule := parsed
	if r != nil {
		rule = r.body
	}
	if rule != ignored {
		var err error
		share := s.handlers.room.share(ctx.Conn())
		defer s.handlers.leave(share) // a target is held until it was taken over
		if c.body, c.raw, err = readBody(ctx, &kept[rule], share); err != nil {
			return badBody(err)
		}
		if rule != targetBody {
			share.leave()
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

// noRoute answers OPTIONS with what the path serves and the rest with 404.
func noRoute(ctx *fasthttp.RequestCtx, method, path string) Answer {
	if methods := allowed(path); method == fasthttp.MethodOptions && methods != "" {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, methods)
		return refuse(fasthttp.StatusOK, methods)
	}
	return fail(fasthttp.StatusNotFound, textNoRoute(method, path))
}

// run decodes the parameter, checks the scope and calls the handler. Only from here on does the
// request count as being worked on; until now its connection waited for its client.
func (s *Server) run(r *route, c *call, raw string) Answer {
	var ok bool
	if c.param, ok = unescape(raw); !ok {
		return fail(fasthttp.StatusBadRequest, textBadParam(raw))
	}
	if refusal, ok := r.scope.admit(c); !ok {
		return refusal
	}
	held := connOf(c.ctx)
	if !r.scope.open && !s.gate.settle(held) {
		c.ctx.SetConnectionClose()
		return fail(fasthttp.StatusServiceUnavailable, textBusy)
	}
	s.gate.busy(held)
	return r.handler(s.handlers, c)
}

// refuseHead answers a request whose head, or short body, could not be read.
func (s *Server) refuseHead(ctx *fasthttp.RequestCtx, err error) {
	code, message := fasthttp.StatusBadRequest, "malformed request"
	var small *fasthttp.ErrSmallBuffer
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &small):
		code, message = fasthttp.StatusRequestHeaderFieldsTooLarge, "request header too large"
		if ctx.Conn().(*conn).head.refused {
			code, message = fasthttp.StatusServiceUnavailable, textManyLongHeads
		}
	case errors.As(err, &timeout) && timeout.Timeout():
		code, message = fasthttp.StatusRequestTimeout, "request timeout"
	}
	s.handlers.answers.count(code)
	fail(code, message).write(ctx)
}
