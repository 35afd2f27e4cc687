package harness

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
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
	return rebooted(t, fmt.Sprintf("--time --boottime %d", -int(seconds)))
}

// RebootedIntoThePast is Rebooted on a board without a clock battery: by the clock the device booted
// before anything that was made before the reboot.
func RebootedIntoThePast(t testing.TB) string {
	t.Helper()
	return rebooted(t, "")
}

// rebooted runs in a boot with a name of its own.
func rebooted(t testing.TB, namespaces string) string {
	dir := t.TempDir()
	id, path := filepath.Join(dir, "boot_id"), filepath.Join(dir, "rebooted")
	script := fmt.Sprintf("#!/bin/sh\nexec unshare --mount %s -- sh -c "+
		"'mount --bind %s /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"' \"$@\"\n", namespaces, id)
	// While a file is open for writing no process is made that would keep it open and so keep it from being run.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for name, text := range map[string]string{id: rand.Text() + "\n", path: script} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
