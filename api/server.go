// Package api serves the device HTTP API: what app containers, people on the local network and, by
// way of the cloud, remote users may ask of the supervisor. The route table is in routes.go; reads
// are answered from memory, actions run to their end also when the client has gone.
package api

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// limits bounds what clients can occupy.
type limits struct {
	connections int           // above it the connection that waits longest is closed
	unread      int           // bytes of answers that the kernel holds for a client that does not read
	actions     int           // running at once
	head        time.Duration // from the first byte to the end of the headers, also the wait for it
	body        time.Duration // from the end of the headers to the end of the body
	idle        time.Duration // between two requests
	promised    time.Duration // of idle, whole seconds that clients are told: a request sent then meets no end
	write       time.Duration // for an answer
	grace       time.Duration // for answers in the works when the server stops
}

func defaultLimits() limits {
	return limits{
		connections: 512, // what they cost: TestCrowds of test/surface
		unread:      32 << 10,
		actions:     64,
		head:        10 * time.Second,
		body:        2 * time.Minute,
		idle:        75 * time.Second,
		promised:    60 * time.Second,
		write:       30 * time.Second,
		grace:       2 * time.Second,
	}
}

// Server is the device API on one listener.
type Server struct {
	handlers *handlers
	limits   limits
	gate     *gate
	log      zerolog.Logger
}

// New makes a server that answers from what its three sources know; they may still be empty.
func New(apps Apps, keys Keys, device Device, log zerolog.Logger) *Server {
	return newServer(apps, keys, device, log, defaultLimits())
}

func newServer(apps Apps, keys Keys, device Device, log zerolog.Logger, l limits) *Server {
	h := newHandlers(apps, keys, device, l.actions)
	h.patience = l.write
	return &Server{
		handlers: h,
		limits:   l,
		gate:     newGate(l.connections),
		log:      log,
	}
}

// Listen opens the API's port on all interfaces, IPv4 and IPv6 (docs/spec/device-api.md 1.1); who may
// reach it is the firewall's business. Connections wait in the kernel until Serve takes them.
func Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// Serve answers requests until ctx ends, then closes ln, gives answers in the works a moment, and
// returns nil. Actions run with ctx, not with the client. Any other end of ln is an error.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.handlers.life = ctx
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	err := s.accept(ctx, ln, s.front())
	_ = ln.Close()
	s.gate.drain(s.limits.grace)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// http is the part of fasthttp we use: it serves single connections, with a buffer that takes heads of so many
// bytes. Its own accept loop is not used, because that gives up for good when descriptors run out and keeps
// its peak of goroutines.
func (s *Server) http(head int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.refuseHead,
		HeaderReceived:               s.allowBody,
		Concurrency:                  2 * (s.limits.connections + extraPlaces), // the gate's limit counts
		ReadBufferSize:               head,
		ConnState:                    follow,
		WriteBufferSize:              2048,
		ReadTimeout:                  s.limits.head,
		WriteTimeout:                 s.limits.write,
		IdleTimeout:                  s.limits.idle,
		MaxRequestBodySize:           maxBody,
		StreamRequestBody:            true, // a key is asked for before a body is read
		DisablePreParseMultipartForm: true,
		ReduceMemoryUsage:            true,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true, // the default wakes the process every second for ever
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		Logger:                       silent{},
	}
}

// silent drops what fasthttp would log, which can quote requests and so their keys.
type silent struct{}

func (silent) Printf(string, ...any) {}

// allowBody gives a request with a body more time to send it.
func (s *Server) allowBody(head *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := head.ContentLength(); n == 0 || n == -2 { // -2: no body
		return fasthttp.RequestConfig{}
	}
	config := fasthttp.RequestConfig{ReadTimeout: s.limits.body}
	if head.ContentLength() > maxBody {
		config.MaxRequestBodySize = 1 // bytes that are waited for before the answer; 0 is the default
	}
	return config
}

// accept takes connections until ln is closed. Running out of descriptors or memory passes: the
// connection that waits longest makes room.
func (s *Server) accept(ctx context.Context, ln net.Listener, front *front) error {
	pause := time.Duration(0)
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.serve(front, c)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return err
		default:
			if pause == 0 {
				s.log.Warn().Err(err).Msg("api cannot accept connections")
			}
			s.gate.evict()
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			wait(ctx, pause)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *Server) serve(front *front, c net.Conn) {
	held := s.gate.admit(c)
	if held == nil {
		s.log.Debug().Msg("api connection refused, all are busy")
		_ = c.Close()
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(s.limits.unread)
	}
	go func() {
		defer s.gate.leave(held)
		defer s.barrier()
		front.serve(held)
	}()
}

// barrier keeps a defect in the serving of one connection from ending the process.
func (s *Server) barrier() {
	if cause := recover(); cause != nil {
		s.log.Error().Interface("reason", cause).Msg("api connection broke")
	}
}
