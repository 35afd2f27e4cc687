package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Guarded is a second registry with the same images, which gives them only to bearers of a token:
// realm is where an engine gets one, issuer who signs it, and certificates the file that proves it.
// The service that a token must be for is the registry's address. Push to the first registry.
func (r *Registry) Guarded(t testing.TB, realm, issuer, certificates string) *Registry {
	t.Helper()
	return r.guarded(t, func(addr string) string {
		return fmt.Sprintf("token: {realm: %q, service: %q, issuer: %q, rootcertbundle: %q}", realm, addr, issuer, certificates)
	})
}

// passwords lets the device of every test in by its name and DeviceKey, as htpasswd -B writes it.
const passwords = "d_0123456789abcdef0123456789abcdef:$2y$04$abcdefghijklmnopqrstuuAAikOayqgdjJLJiLXPEOmxRDtX6StUW\n"

// Locked is a second registry with the same images, which gives them only to the device of the tests, by
// its name and key.
func (r *Registry) Locked(t testing.TB) *Registry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(path, []byte(passwords), 0o600); err != nil {
		t.Fatal(err)
	}
	return r.guarded(t, func(string) string { return fmt.Sprintf("htpasswd: {realm: images, path: %q}", path) })
}

func (r *Registry) guarded(t testing.TB, auth func(addr string) string) *Registry {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g := &Registry{Addr: addr, dir: t.TempDir()}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nauth: {%s}\n",
		filepath.Join(r.dir, "data"), addr, auth(addr))
	if err := os.WriteFile(g.configPath(), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	g.Start(t)
	t.Cleanup(g.stop)
	return g
}

// Of is an image of the registry as it is named at another one that has the same images.
func (r *Registry) Of(i Image) Image {
	_, name, _ := strings.Cut(i.Name, "/")
	i.Name = r.Addr + "/" + name
	return i
}
