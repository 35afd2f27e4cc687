package cloud

import (
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
)

// bundles are the files in which systems keep the certificates they trust, most common first.
var bundles = [...]string{
	"etc/ssl/certs/ca-certificates.crt",
	"etc/pki/tls/certs/ca-bundle.crt",
	"etc/ssl/ca-bundle.pem",
	"etc/ssl/cert.pem",
}

// Roots reads the certificates that servers are trusted by (spec/cloud.md 0.2): the first bundle
// found in one of the root directories, the PEM file extra, the PEM text own, and the same in base64 as
// config.json has it; each may be missing.
// A directory of single files is not read: it would cost several times as much.
func Roots(directories []string, extra, own, encoded string) *x509.CertPool {
	pool := x509.NewCertPool()
	if bundle := firstBundle(directories); bundle != nil {
		pool.AppendCertsFromPEM(bundle)
	}
	if pem, err := os.ReadFile(extra); err == nil {
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
			if pem, err := os.ReadFile(filepath.Join(directory, name)); err == nil {
				return pem
			}
		}
	}
	return nil
}
