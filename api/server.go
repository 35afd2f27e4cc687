// Package api serves the device HTTP API to app containers, to people on the local network and, through the cloud, to
// remote users. The route table is in routes.go. Reads are answered from memory. Actions run to their end, even when
// the client has gone.
package api

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/hostos/retry"
)

// limits bounds what clients can use up.
type limits struct {
	connections int           // open at once; at the limit the limiter evicts one
	writeBuffer int           // bytes of answers that the kernel holds for a client that does not read
	actions     int           // running at once
	head        time.Duration // from the first byte to the end of the headers; also for the first byte
	body        time.Duration // from the end of the headers to the end of the body
	idle        time.Duration // between two requests
	keepAlive   time.Duration // what clients are told; shorter than idle, so they never meet a closed connection
	write       time.Duration // for an answer
	grace       time.Duration // for running answers when the server stops
}

func defaultLimits() limits {
	return limits{
		connections: 512, // TestCrowds of test/surface measures their memory
		writeBuffer: 32 << 10,
		actions:     64,
		head:        10 * time.Second,
		body:        2 * time.Minute,
		idle:        75 * time.Second,
		keepAlive:   60 * time.Second,
		write:       30 * time.Second,
		grace:       2 * time.Second,
	}
}

// Server is the device API on one listener.
type Server struct {
	handlers *handlers
	limits   limits
	limiter  *limiter
	log      zerolog.Logger
}

// New makes a server that answers from its three sources. They need not know anything yet.
func New(apps Apps, keys Keys, device Device, log zerolog.Logger) *Server {
	return newServer(apps, keys, device, log, defaultLimits())
}

func newServer(apps Apps, keys Keys, device Device, log zerolog.Logger, l limits) *Server {
	h := newHandlers(apps, keys, device, l.actions)
	h.writeTimeout = l.write
	return &Server{
		handlers: h,
		limits:   l,
		limiter:  newLimiter(l.connections),
		log:      log,
	}
}

// Listen opens the API's port on all interfaces, for IPv4 and IPv6 (docs/spec/device-api.md 1.1). The firewall decides
// who can reach it. Connections wait in the kernel until Serve accepts them.
func Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// Serve answers requests until ctx ends. Then it closes ln, lets running answers finish within the grace period, and
// returns nil. Actions end with ctx, not with their client. Serve returns an error when ln fails.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.handlers.ctx = ctx
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	err := s.accept(ctx, ln, s.newConnServer())
	_ = ln.Close()
	s.limiter.drain(s.limits.grace)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// newHTTPServer makes a fasthttp server for connections whose request heads have at most maxHead bytes. We do not use
// its accept loop, because that ends when descriptors run out, and never ends the goroutines of a peak.
func (s *Server) newHTTPServer(maxHead int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.refuseHead,
		HeaderReceived:               s.allowBody,
		Concurrency:                  2 * (s.limits.connections + reserveSize), // never reached: the limiter bounds connections
		ReadBufferSize:               maxHead,
		ConnState:                    trackState,
		WriteBufferSize:              2048,
		ReadTimeout:                  s.limits.head,
		WriteTimeout:                 s.limits.write,
		IdleTimeout:                  s.limits.idle,
		MaxRequestBodySize:           maxBody,
		StreamRequestBody:            true, // the key is checked before the body is read
		DisablePreParseMultipartForm: true,
		ReduceMemoryUsage:            true,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true, // dates would wake the process every second
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		Logger:                       discardLogger{},
	}
}

// discardLogger drops the messages of fasthttp, because they can quote requests with their keys.
type discardLogger struct{}

func (discardLogger) Printf(string, ...any) {}

// allowBody gives the client more time for a request that has a body.
func (s *Server) allowBody(head *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := head.ContentLength(); n == 0 || n == -2 { // -2: no body
		return fasthttp.RequestConfig{}
	}
	config := fasthttp.RequestConfig{ReadTimeout: s.limits.body}
	if head.ContentLength() > maxBody {
		config.MaxRequestBodySize = 1 // bytes to read before the answer; 0 would mean the default
	}
	return config
}

// accept serves new connections until ln is closed. When descriptors or memory run out, it evicts a waiting connection
// and tries again.
func (s *Server) accept(ctx context.Context, ln net.Listener, cs *connServer) error {
	failures := 0
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			failures = 0
			s.serve(cs, c)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return err
		default:
			if failures++; failures == 1 {
				s.log.Warn().Err(err).Msg("api cannot accept connections, will retry")
			}
			s.limiter.evict()
			retry.Sleep(ctx, retry.Backoff(failures, 5*time.Millisecond, time.Second))
		}
	}
}

func (s *Server) serve(cs *connServer, nc net.Conn) {
	c := s.limiter.admit(nc)
	if c == nil {
		s.log.Debug().Msg("api connection refused, handlers work for all others")
		_ = nc.Close()
		return
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(s.limits.writeBuffer)
	}
	go func() {
		defer s.limiter.remove(c)
		defer s.logPanic()
		cs.serve(c)
	}()
}

// logPanic keeps a panic in one connection from ending the process.
func (s *Server) logPanic() {
	if cause := recover(); cause != nil {
		s.log.Error().Interface("reason", cause).Msg("api connection panicked")
	}
}
