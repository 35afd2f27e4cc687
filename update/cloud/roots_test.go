package cloud

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// authority returns a root certificate and a certificate of 127.0.0.1 that it signed.
func authority(t *testing.T, number int64) (*x509.Certificate, *tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(template, parent *x509.Certificate) *x509.Certificate {
		template.SerialNumber, template.SubjectKeyId = big.NewInt(number), []byte{byte(number)}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	root := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root = sign(root, root)
	leaf := sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, root)
	return root, &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

// All roots are read for the first server, and again only for a server that the used roots do not verify.
func TestTrustKeepsWhatIsUsed(t *testing.T) {
	first, firstServer := authority(t, 1)
	second, secondServer := authority(t, 2)
	_, unknown := authority(t, 3)
	shown := atomic.Pointer[tls.Certificate]{}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	reads := 0
	trust := NewTrust(func() *x509.CertPool {
		reads++
		pool := x509.NewCertPool()
		pool.AddCert(first)
		pool.AddCert(second)
		return pool
	})
	c, err := New("https://"+listener.Addr().String(), "x", trust, nil)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(server *tls.Certificate, wantReads int, trusted bool) {
		t.Helper()
		shown.Store(server)
		conn, err := c.dial(context.Background())
		if trusted != (err == nil) || !trusted && (!isCertificateError(err) || conn != nil) || reads != wantReads {
			t.Fatalf("got %v, %v after %d reads, want %d", conn, err, reads, wantReads)
		}
		if err == nil {
			conn.Close()
		}
	}
	connect(unknown, 1, false)
	connect(firstServer, 2, true)
	connect(firstServer, 2, true)
	connect(secondServer, 3, true)
	connect(secondServer, 3, true)
	connect(firstServer, 3, true)
	connect(unknown, 4, false)
	connect(firstServer, 4, true)
	want := x509.NewCertPool()
	want.AddCert(first)
	want.AddCert(second)
	if !trust.usedRoots().Equal(want) { // not the server certificates, which a renewal replaces
		t.Error("Trust keeps other certificates than the two roots")
	}
}
