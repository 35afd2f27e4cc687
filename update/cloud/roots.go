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

// bundles are the files where systems keep their trusted certificates, most common first.
var bundles = [...]string{
	"etc/ssl/certs/ca-certificates.crt",
	"etc/pki/tls/certs/ca-bundle.crt",
	"etc/ssl/ca-bundle.pem",
	"etc/ssl/cert.pem",
}

// Trust holds the root certificates that verify servers. A device needs one or two of more than a hundred
// roots, so only the roots that have verified a server stay in memory. All roots are read when these do not
// verify a server. It is safe for concurrent use.
type Trust struct {
	all  func() *x509.CertPool
	mu   sync.Mutex
	used *x509.CertPool // nil before the first server was verified
}

// NewTrust returns a Trust that calls all to read the certificates when they are needed.
func NewTrust(all func() *x509.CertPool) *Trust { return &Trust{all: all} }

func (t *Trust) usedRoots() *x509.CertPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// learn keeps the roots that verified a server.
func (t *Trust) learn(chains [][]*x509.Certificate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := x509.NewCertPool()
	if t.used != nil {
		used = t.used.Clone() // another goroutine may be using the current pool
	}
	for _, chain := range chains {
		used.AddCert(chain[len(chain)-1])
	}
	if !used.Equal(t.used) {
		t.used = used
	}
}

// isCertificateError reports whether a server's certificate could not be verified.
func isCertificateError(err error) bool {
	bad := (*tls.CertificateVerificationError)(nil)
	return errors.As(err, &bad)
}

// Roots reads the trusted root certificates (docs/spec/cloud.md 0.2): the first bundle found in one of the root
// directories, the PEM file extra, the PEM text own, and encoded, a PEM text in base64 from config.json. Each
// may be missing. Roots does not read a directory of single certificates, which costs several times as much.
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
