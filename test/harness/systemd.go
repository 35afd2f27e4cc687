package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Host is the device's host system: a real systemd, as the first process of its own processes, with a
// real journald.
type Host struct {
	t    testing.TB
	root string
	cmd  *exec.Cmd
}

// bootScript becomes the systemd of the device in $1. The control groups of this process are its own
// ones from here on; it has no kernel log and no console.
const bootScript = `set -e
echo 0 >"$2/cgroup.procs"
exec unshare --cgroup sh -c '
set -e
mount --rbind "$1" "$1"
mount -t proc proc "$1/proc"
umount --recursive "$1/sys"
mount -t tmpfs -o mode=755 sys "$1/sys"
mkdir -p "$1/sys/fs/cgroup"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup "$1/sys/fs/cgroup"
else
	mount -t tmpfs -o mode=755 cgroup "$1/sys/fs/cgroup"
	mkdir "$1/sys/fs/cgroup/systemd"
	mount -t cgroup -o none,name=systemd cgroup "$1/sys/fs/cgroup/systemd"
fi
mount -t tmpfs -o mode=755 dev "$1/dev"
for name in null zero full random urandom; do
	touch "$1/dev/$name"
	mount --bind "/dev/$name" "$1/dev/$name"
done
cd "$1"
pivot_root . old
umount -l /old
export container=docker
exec /lib/systemd/systemd --unit=bed.target --log-target=null
' boot "$1"`

// Boot gives the device a host system with these units, by name. It is to be called before the
// supervisor starts.
func (s *Supervisor) Boot(units map[string]string) *Host {
	t, root := s.t, s.Path("root")
	t.Helper()
	for _, dir := range []string{"usr", "proc", "sys", "dev", "old", "etc/systemd/system", "var/tmp", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		os.Symlink("usr/"+dir, filepath.Join(root, dir))
	}
	for _, name := range []string{"machine-id", "passwd", "group"} {
		text, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		s.WriteFile("root/etc/"+name, string(text))
	}
	s.WriteFile("root/etc/systemd/system/bed.target", "[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.service\nAfter=systemd-journald.service\n")
	for name, text := range units {
		s.WriteFile("root/etc/systemd/system/"+name, "[Unit]\nDefaultDependencies=no\n"+text)
	}
	mount(t, "/usr", filepath.Join(root, "usr"), "", syscall.MS_BIND|syscall.MS_REC)
	mount(t, "/proc", filepath.Join(root, "proc"), "", syscall.MS_BIND|syscall.MS_REC)
	mount(t, "run", filepath.Join(root, "run"), "tmpfs", 0)
	if err := os.MkdirAll(filepath.Join(root, "run/openvpn/vpn_status"), 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, "sys", filepath.Join(root, "sys"), "tmpfs", 0)
	h := &Host{t: t, root: root}
	h.start(h.group())
	return h
}

func mount(t testing.TB, source, target, kind string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		t.Fatalf("mount %s: %v", target, err)
	}
	t.Cleanup(func() { syscall.Unmount(target, syscall.MNT_DETACH) })
}

// group makes the control group of the host and shows it to the device. It is taken away with all that
// runs in it.
func (h *Host) group() string {
	above, seen := "/sys/fs/cgroup", "sys/fs/cgroup"
	if _, err := os.Stat(above + "/cgroup.controllers"); err != nil { // the first version of control groups
		above, seen = above+"/systemd", seen+"/systemd"
	}
	group, err := os.MkdirTemp(above, "bed-")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		Until(h.t, 20*time.Second, "the control groups to be empty", func() error { return removeGroups(group) })
	})
	target := filepath.Join(h.root, seen)
	if err := os.MkdirAll(target, 0o755); err != nil {
		h.t.Fatal(err)
	}
	mount(h.t, group, target, "", syscall.MS_BIND)
	return group
}

// removeGroups removes a control group and those in it.
func removeGroups(group string) error {
	inner, err := os.ReadDir(group)
	if err != nil {
		return err
	}
	for _, e := range inner {
		if e.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(group, e.Name())))
		}
	}
	return errors.Join(err, syscall.Rmdir(group))
}

func (h *Host) start(group string) {
	h.t.Helper()
	h.cmd = exec.Command("sh", "-c", bootScript, "boot", h.root, group)
	var said strings.Builder
	h.cmd.Stdout, h.cmd.Stderr = &said, &said
	h.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		h.cmd.Process.Kill()
		h.cmd.Wait()
		if h.t.Failed() {
			h.t.Logf("systemd of the device: %s", said.String())
		}
	})
	Until(h.t, Soon, "systemd and the journal", func() error {
		return h.run("systemctl", "is-active", "--quiet", "systemd-journald.service")
	})
}

// StartEngine starts an engine that has the host's /run, and so writes to its journal.
func (h *Host) StartEngine(e *Engine) {
	h.t.Helper()
	e.run = filepath.Join(h.root, "run")
	e.Start(h.t)
}

// Systemctl does something to a unit. A start does not wait for its end.
func (h *Host) Systemctl(verb, unit string) {
	h.t.Helper()
	if err := h.run("systemctl", "--no-block", verb, unit); err != nil {
		h.t.Fatal(err)
	}
}

// Transient runs a shell script as a unit that is described nowhere, and waits for its end.
func (h *Host) Transient(unit, script string) {
	h.t.Helper()
	if err := h.run("systemd-run", "--collect", "--quiet", "--property=DefaultDependencies=no", "--unit="+unit, "sh", "-c", script); err != nil {
		h.t.Fatal(err)
	}
	Until(h.t, 20*time.Second, "the end of "+unit, func() error {
		if h.run("systemctl", "is-active", "--quiet", unit) == nil {
			return errors.New("it is active")
		}
		return nil
	})
}

// Journal is what the host's journalctl says.
func (h *Host) Journal(args ...string) string {
	h.t.Helper()
	out, err := exec.Command("chroot", append([]string{h.root, "/usr/bin/journalctl", "--quiet"}, args...)...).Output()
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

func (h *Host) run(args ...string) error {
	args = append([]string{"--target", fmt.Sprint(h.cmd.Process.Pid), "--pid", "--mount"}, args...)
	if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args[4:], " "), err, out)
	}
	return nil
}
