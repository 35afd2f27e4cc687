package harness

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// lockRoot is the one host directory that containers and supervisor share by absolute path
// (docs/spec/engine.md 2.5).
const lockRoot = "/tmp/balena-supervisor"

// bed is what the tests of one package share. It is made by Main and filled on demand.
type bed struct {
	dir string

	mu       sync.Mutex
	user     testing.TB // the test that wipes the engine when it ends
	engine   *Engine
	registry *Registry
	err      error
}

// current is the bed of this test binary: a binary has exactly one, from Main to its end.
var current *bed

// Main runs the tests of a package in its bed and ends the process. It refuses to run in the
// machine's own network namespace.
func Main(m *testing.M) {
	code, err := runInBed(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		code = 1
	}
	os.Exit(code)
}

func runInBed(m *testing.M) (int, error) {
	if err := checkNamespace(); err != nil {
		return 0, err
	}
	if err := checkTools("dockerd", "containerd", "docker-registry"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "bed-")
	if err != nil {
		return 0, err
	}
	current = &bed{dir: dir}
	defer current.close()
	if err := privateLockRoot(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// checkNamespace says what to do when the process is still in the machine's network namespace. Each
// namespace has files of its own below /proc/PID/net; their numbers can be read even where the
// namespace link of process 1 cannot.
func checkNamespace() error {
	var own, first syscall.Stat_t
	if err := syscall.Stat("/proc/self/net/dev", &own); err != nil {
		return fmt.Errorf("look at the own network namespace: %w", err)
	}
	if err := syscall.Stat("/proc/1/net/dev", &first); err != nil {
		return fmt.Errorf("look at the machine's network namespace: %w", err)
	}
	if own.Ino == first.Ino {
		return errors.New("these tests start a container engine, which changes the network it runs in; " +
			"run them as root in a namespace of their own: make test, or in test/: " +
			`go test -exec "$PWD/../build/host/bed.sh" ./...`)
	}
	return nil
}

// toolPackages names the Debian package of every program the tests start.
var toolPackages = map[string]string{
	"dockerd":             "docker.io",
	"containerd":          "containerd",
	"docker-registry":     "docker-registry",
	"ip":                  "iproute2",
	"iptables":            "iptables",
	"ip6tables":           "iptables",
	"iptables-legacy":     "iptables",
	"ip6tables-legacy":    "iptables",
	"microsocks":          "microsocks",
	"mkfs.ext4":           "e2fsprogs",
	"chattr":              "e2fsprogs",
	"mount":               "mount",
	"qemu-arm-static":     "qemu-user-static",
	"qemu-aarch64-static": "qemu-user-static",
	"redsocks":            "redsocks",
	"tinyproxy":           "tinyproxy-bin",
}

func checkTools(names ...string) error {
	for _, name := range names {
		if _, err := lookTool(name); err != nil {
			return err
		}
	}
	return nil
}

// lookTool finds a program, also where a user's PATH does not look.
func lookTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: not installed, install the package %s", name, toolPackages[name])
}

// Tool is the path of a program the test needs; the test fails with the package's name when it is
// not installed.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := lookTool(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// RunTool runs a program to its end and answers what it printed; the test ends when the program fails.
func RunTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := TryTool(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryTool is RunTool for a program that may fail.
func TryTool(name string, args ...string) (string, error) {
	path, err := lookTool(name)
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// privateLockRoot gives this namespace a lock directory of its own unless it already has one.
func privateLockRoot() error {
	if err := os.MkdirAll(lockRoot, 0o755); err != nil {
		return err
	}
	if mounted, err := isMountPoint(lockRoot); err != nil || mounted {
		return err
	}
	if err := syscall.Mount("tmpfs", lockRoot, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a private %s: %w", lockRoot, err)
	}
	return nil
}

func isMountPoint(path string) (bool, error) {
	points, err := mountPoints()
	for _, p := range points {
		if p == path {
			return true, nil
		}
	}
	return false, err
}

// mountPoints lists this namespace's mount points in the order they were mounted.
func mountPoints() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	return points, lines.Err()
}

// removeTree takes away a directory and whatever is still mounted below it.
func removeTree(dir string) error {
	points, err := mountPoints()
	if err != nil {
		return err
	}
	for i := len(points) - 1; i >= 0; i-- {
		if strings.HasPrefix(points[i], dir+"/") {
			syscall.Unmount(points[i], syscall.MNT_DETACH)
		}
	}
	return os.RemoveAll(dir)
}

func (b *bed) close() {
	if b.engine != nil {
		b.engine.discard()
	}
	if b.registry != nil {
		b.registry.stop()
	}
	if err := removeTree(b.dir); err != nil {
		fmt.Fprintln(os.Stderr, "harness: remove the bed:", err)
	}
}

// shared is the bed, or the test's end when the package forgot Main.
func shared(t testing.TB) *bed {
	t.Helper()
	if current == nil {
		t.Fatal("the package's TestMain must call harness.Main")
	}
	return current
}

// SharedEngine is the package's container engine, running. When the test ends, and when a supervisor
// on it ends, its containers, volumes and networks are removed; images stay.
func SharedEngine(t testing.TB) *Engine {
	t.Helper()
	b := shared(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.engine == nil {
		b.engine, b.err = newEngine(filepath.Join(b.dir, "engine"))
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	if err := b.engine.ensureRunning(); err != nil {
		t.Fatal(err)
	}
	if b.user == nil {
		b.user = t
		t.Cleanup(func() { b.leave(t) })
	}
	return b.engine
}

// leave cleans the engine up after the test that asked for it first. Later requests of the same
// test must not: their cleanup would come before that of a supervisor still at work.
func (b *bed) leave(t testing.TB) {
	b.engine.dumpLog(t)
	b.engine.renew(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.user = nil
}

// SharedRegistry is the package's image registry, running. The shared engine has already pulled the
// fixtures' programs from it, so that a pull fetches only what is new in an image.
func SharedRegistry(t testing.TB) *Registry {
	t.Helper()
	engine := SharedEngine(t)
	b := shared(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.registry != nil {
		b.registry.Start(t)
		return b.registry
	}
	r, err := newRegistry(filepath.Join(b.dir, "registry"))
	if err != nil {
		t.Fatal(err)
	}
	r.Start(t)
	b.registry = r
	for _, image := range []Image{ServerImage("warm/app:v1"), OneshotImage("warm/oneshot:v1")} {
		engine.Pull(t, r.Push(t, image).Name)
	}
	return r
}
