package ping

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/hostos/inotify"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// next10s returns the next value, or fails.
func next10s[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing within 10 s")
		panic("unreachable")
	}
}

// vpnAt watches dir and returns the changes.
func vpnAt(t *testing.T, dir string) (*VPN, <-chan bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	changes := make(chan bool, 10)
	v, err := WatchVPN(ctx, dir, func(connected bool) { changes <- connected })
	must(t, err)
	return v, changes
}

// toggle makes and removes the file, and wants both to be seen.
func toggle(t *testing.T, v *VPN, dir string, changes <-chan bool) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "active"), nil, 0o600))
	if !next10s(t, changes) || !v.Connected() {
		t.Fatal("connecting was not seen")
	}
	must(t, os.Remove(filepath.Join(dir, "active")))
	if next10s(t, changes) || v.Connected() {
		t.Fatal("disconnecting was not seen")
	}
}

func TestVPNMakesTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "openvpn/vpn_status")
	v, changes := vpnAt(t, dir)
	if v.Connected() {
		t.Fatal("connected without a file")
	}
	toggle(t, v, dir, changes)
	// other files mean nothing; a rename into place does
	must(t, os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
	must(t, os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "active")))
	if !next10s(t, changes) {
		t.Fatal("a file moved into place was not seen")
	}
}

func TestVPNConnectedAtStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vpn_status")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "active"), nil, 0o600))
	v, changes := vpnAt(t, dir)
	if !v.Connected() || len(changes) != 0 {
		t.Fatalf("connected %v, %d changes", v.Connected(), len(changes))
	}
	madeAgain(t, dir, func() { must(t, os.RemoveAll(dir)) })
	if next10s(t, changes) || v.Connected() {
		t.Fatal("removal of the directory was not seen")
	}
	toggle(t, v, dir, changes)
}

func TestVPNSurvivesReplacedDirectories(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "openvpn")
	dir := filepath.Join(parent, "vpn_status")
	v, changes := vpnAt(t, dir)
	toggle(t, v, dir, changes)
	madeAgain(t, dir, func() { must(t, os.Rename(dir, dir+".old")) })
	toggle(t, v, dir, changes)
	// may fail in the end, since the watch makes it again meanwhile
	madeAgain(t, dir, func() { _ = os.RemoveAll(parent) })
	toggle(t, v, dir, changes)
}

// madeAgain waits until the watch made its directory again after remove.
func madeAgain(t *testing.T, dir string, remove func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	watcher, err := inotify.New()
	must(t, err)
	defer watcher.Close()
	parent := filepath.Dir(dir)
	_, err = watcher.Add(filepath.Dir(parent), entries)
	must(t, err)
	remove()
	for {
		_, _ = watcher.Add(parent, entries) // may be gone itself, then the one above tells
		if isDir(dir) {
			return
		}
		if _, err := watcher.Read(ctx); err != nil {
			t.Fatalf("%s was not made again: %v", dir, err)
		}
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// A file in the way keeps the directory from being made, even for root.
func TestVPNWaitsForTheDirectory(t *testing.T) {
	root := t.TempDir()
	blocked := filepath.Join(root, "openvpn")
	must(t, os.WriteFile(blocked, nil, 0o600))
	dir := filepath.Join(blocked, "vpn_status")
	v, changes := vpnAt(t, dir)
	if v.Connected() {
		t.Fatal("connected without a directory")
	}
	ready := filepath.Join(root, "ready")
	must(t, os.MkdirAll(filepath.Join(ready, "vpn_status"), 0o700))
	must(t, os.WriteFile(filepath.Join(ready, "vpn_status/active"), nil, 0o600))
	must(t, os.Remove(blocked))
	_ = os.Rename(ready, blocked) // loses against the watch, which may make the directory first
	must(t, os.WriteFile(filepath.Join(dir, "active"), nil, 0o600))
	if !next10s(t, changes) || !v.Connected() {
		t.Fatal("the directory that appeared later was not watched")
	}
	must(t, os.Remove(filepath.Join(dir, "active")))
	if next10s(t, changes) {
		t.Fatal("disconnecting was not seen")
	}
	toggle(t, v, dir, changes)
}
