package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace marks the second run of the test binary, whose mounts are private.
const inNamespace = "FILE_TEST_IN_NAMESPACE"

// TestFullDisk runs itself again in a mount namespace, where a small tmpfs simulates a full disk.
func TestFullDisk(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		fullDisk(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = ownMounts()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFullDisk") {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
}

// ownMounts requests a mount namespace and, if not root, a user namespace.
func ownMounts() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	}
	return attr
}

func fullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, "a")
	if err := Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 1<<20)
	if err := Write(path, big, 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("full disk: %v, want ENOSPC", err)
	}
	if changed, err := WriteIfChanged(path, big, 0o600); changed || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("full disk: changed %v (%v), want ENOSPC", changed, err)
	}
	wantContent(t, path, "old")
	wantNames(t, dir, "a")
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatalf("small write after a failed one: %v", err)
	}
}
