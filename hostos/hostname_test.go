package hostos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadHostname(t *testing.T) {
	root := t.TempDir()
	if _, err := ReadHostname(root); !os.IsNotExist(err) {
		t.Fatalf("missing file: got %v", err)
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/hostname"), []byte(" kiosk-3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadHostname(root); err != nil || got != "kiosk-3" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestNamesOfTheHost(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	resolver := filepath.Join(root, "etc/resolv.conf")
	if err := os.WriteFile(resolver, []byte("nameserver 10.0.0.1\nsearch Lan Corp.Example.com\noptions x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	domains := searchDomains(resolver)
	for name, want := range map[string]bool{
		"kiosk-3": true, "kiosk-3.lan": true, "kiosk-3.corp.example.com": true, "kiosk-3.example.com": false,
		"kiosk-3.": false, "kiosk-33": false, "kiosk-3.lan.evil.com": false, "lan": false, "": false,
	} {
		if isNameOf("Kiosk-3", domains, name) != want {
			t.Errorf("%q: %v, want %v", name, !want, want)
		}
	}
	if isNameOf("", domains, ".lan") || isNameOf("", nil, "") {
		t.Error("a host without a name has one")
	}
	if err := os.WriteFile(filepath.Join(root, "etc/hostname"), []byte("applied\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	kernel, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"configured": true, "applied": true, strings.ToLower(kernel): true, "evil.example": false} {
		if GoesBy(root, "configured", name) != want {
			t.Errorf("%q: %v, want %v", name, !want, want)
		}
	}
}
