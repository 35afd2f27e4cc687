package fakecloud

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"
)

// serving is the open side of a cloud.
type serving struct {
	address string
	config  *tls.Config // nil: plain HTTP
	server  *http.Server
}

// Start serves plain HTTP and returns the origin.
func (c *Cloud) Start(t testing.TB) string {
	t.Helper()
	c.open(t, nil)
	c.Origin = "http://" + c.serving.address
	return c.Origin
}

// StartTLS serves HTTPS with a certificate of the cloud's own authority and returns the origin and
// the authority's certificate, as PEM. Host takes the place of the address in the origin.
func (c *Cloud) StartTLS(t testing.TB, host ...string) (origin string, certificate []byte) {
	t.Helper()
	pair, ca := c.certificates(t)
	c.CA = ca
	c.open(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	_, port, _ := net.SplitHostPort(c.serving.address)
	name := "127.0.0.1"
	if len(host) > 0 {
		name = host[0]
	}
	c.Origin = "https://" + net.JoinHostPort(name, port)
	return c.Origin, ca
}

func (c *Cloud) open(t testing.TB, config *tls.Config) {
	t.Helper()
	c.done = make(chan struct{})
	c.serving = &serving{address: "127.0.0.1:0", config: config}
	c.Up(t)
	t.Cleanup(func() {
		close(c.done)
		c.Down()
	})
}

// Up makes the cloud answer again at the address it had.
func (c *Cloud) Up(t testing.TB) {
	t.Helper()
	s := c.serving
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	if s.config != nil {
		l = tls.NewListener(l, s.config)
	}
	s.server = &http.Server{Handler: c, ErrorLog: log.New(io.Discard, "", 0), ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, conn)
	}}
	s.server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			c.Set(func(c *Cloud) { c.accepted++; c.live++ })
		case http.StateClosed:
			c.Set(func(c *Cloud) { c.live-- })
		}
	}
	go s.server.Serve(l)
}

// Connections are how many connections there were so far, and how many of them are open.
func (c *Cloud) Connections() (accepted, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accepted, c.live
}

type connKey struct{}

// hangUp closes the connection of a call at once; a server does so by itself only after it read what
// is left of the body, which of a log stream has no end.
func hangUp(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// bare answers as the HTTP parser of a server does when no handler is to be bothered, and hangs up.
func bare(w http.ResponseWriter, r *http.Request, status int) {
	if w, ok := w.(*watched); ok {
		w.note(status)
	}
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nConnection: close\r\n\r\n", status, http.StatusText(status))
	}
	hangUp(r)
}

// Down closes all connections and refuses new ones.
func (c *Cloud) Down() { c.serving.server.Close() }

// Renew gives later connections another certificate of the same authority's kind, valid as c says,
// and returns the new authority's certificate.
func (c *Cloud) Renew(t testing.TB) []byte {
	t.Helper()
	pair, ca := c.certificates(t)
	c.Down()
	c.serving.config = &tls.Config{Certificates: []tls.Certificate{pair}}
	c.CA = ca
	c.Up(t)
	return ca
}

// certificates makes an authority and a certificate of the server's.
func (c *Cloud) certificates(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	begin := c.NotBefore
	if begin.IsZero() {
		begin = time.Now().Add(-time.Hour)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test cloud authority"},
		NotBefore: begin, NotAfter: begin.Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test cloud"},
		NotBefore: begin, NotAfter: begin.Add(48 * time.Hour), DNSNames: append([]string{"localhost"}, c.Names...),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caKey, leafKey := newKey(t), newKey(t)
	caRaw, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: leafKey},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caRaw})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
