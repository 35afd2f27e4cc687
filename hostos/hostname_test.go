package hostos

import (
	"os"
	"path/filepath"
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
