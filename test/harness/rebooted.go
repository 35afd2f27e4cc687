package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Rebooted is a program, for RunBy, that runs another one as on a device that has just booted.
func Rebooted(t testing.TB) string {
	t.Helper()
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	var seconds float64
	if _, err := fmt.Sscan(string(uptime), &seconds); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rebooted")
	script := fmt.Sprintf("#!/bin/sh\nexec unshare --time --boottime %d -- \"$@\"\n", -int(seconds))
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
