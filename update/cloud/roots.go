package cloud

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"path/filepath"
	"sync"

	"resin-supervisor/hostos/file"
)

// bundles are the files in which systems keep the certificates they trust, most common first.
var bundles = [...]string{
	"etc/ssl/certs/ca-certificates.crt",
	"etc/pki/tls/certs/ca-bundle.crt",
	"etc/ssl/ca-bundle.pem",
	"etc/ssl/cert.pem",
}

// Trust is what servers are trusted by. Of more than a hundred root certificates a device needs one or
// two, so only those stay in memory by which a server was verified; all are read when these do not do.
// It is safe for concurrent use.
type Trust struct {
	all  func() *x509.CertPool
	mu   sync.Mutex
	used *x509.CertPool // nil before the first server was verified
}

// NewTrust trusts the certificates that all reads, which it calls when they are needed.
func NewTrust(all func() *x509.CertPool) *Trust { return &Trust{all: all} }

func (t *Trust) known() *x509.CertPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// learn keeps the roots by which a server was verified.
func (t *Trust) learn(chains [][]*x509.Certificate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := x509.NewCertPool()
	if t.used != nil {
		used = t.used.Clone() // the present one may be in use
	}
	for _, chain := range chains {
		used.AddCert(chain[len(chain)-1])
	}
	if !used.Equal(t.used) {
		t.used = used
	}
}

// unverified tells whether an error is about the certificate of a server.
func unverified(err error) bool {
	bad := (*tls.CertificateVerificationError)(nil)
	return errors.As(err, &bad)
}

// Roots reads the certificates that servers are trusted by (docs/spec/cloud.md 0.2): the first bundle
// found in one of the root directories, the PEM file extra, the PEM text own, and the same in base64 as
// config.json has it; each may be missing.
// A directory of single files is not read: it would cost several times as much.
func Roots(directories []string, extra, own, encoded string) *x509.CertPool {
	pool := x509.NewCertPool()
	if bundle := firstBundle(directories); bundle != nil {
		pool.AppendCertsFromPEM(bundle)
	}
	if pem, err := file.Read(extra, file.Large); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	pool.AppendCertsFromPEM([]byte(own))
	if pem, err := base64.StdEncoding.DecodeString(encoded); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	return pool
}

func firstBundle(directories []string) []byte {
	for _, directory := range directories {
		for _, name := range bundles {
			if pem, err := file.Read(filepath.Join(directory, name), file.Large); err == nil {
				return pem
			}
		}
	}
	return nil
}
