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

// next10s returns the next value, and fails when there is none within 10 s.
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

// toggle creates and removes the file, and wants both changes to be seen.
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
	// other files do not count; a file that is renamed to active does
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
	remade(t, dir, func() { must(t, os.RemoveAll(dir)) })
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
	remade(t, dir, func() { must(t, os.Rename(dir, dir+".old")) })
	toggle(t, v, dir, changes)
	// may fail, because the watch recreates the directory meanwhile
	remade(t, dir, func() { _ = os.RemoveAll(parent) })
	toggle(t, v, dir, changes)
}

// remade calls remove, and waits until the watch has recreated its directory.
func remade(t *testing.T, dir string, remove func()) {
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
		_, _ = watcher.Add(parent, entries) // parent may be gone too; then the watch above it sees the new one
		if isDir(dir) {
			return
		}
		if _, err := watcher.Read(ctx); err != nil {
			t.Fatalf("%s was not recreated: %v", dir, err)
		}
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// A file in its path keeps the directory from being created, even by root.
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
	_ = os.Rename(ready, blocked) // fails when the watch creates the directory first
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
