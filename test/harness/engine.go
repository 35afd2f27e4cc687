package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engine is a real container engine with data of its own. It can be stopped, killed and started
// again with the same data and socket.
type Engine struct {
	Socket string // path of its unix socket

	dir    string
	args   []string // of dockerd, beside those that all have
	run    string   // what it sees as /run, empty for the machine's
	lacks  []string // cgroup controllers that it does not see
	proc   *Process
	client *http.Client
}

func newEngine(dir string) (*Engine, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	e := stoppedEngine(dir)
	if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
		return nil, fmt.Errorf("bring lo up (package iproute2): %w", err)
	}
	return e, e.start()
}

// stoppedEngine is an engine that was not started yet.
func stoppedEngine(dir string) *Engine {
	e := &Engine{dir: dir, Socket: filepath.Join(dir, "docker.sock")}
	e.client = &http.Client{Transport: unixTransport(e.Socket)}
	return e
}

// unixTransport speaks HTTP over one unix socket.
func unixTransport(socket string) *http.Transport {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &http.Transport{DialContext: dial, DisableCompression: true}
}

func (e *Engine) start() error {
	path, err := lookTool("dockerd")
	if err != nil {
		return err
	}
	args := append([]string{path,
		"--data-root", filepath.Join(e.dir, "data"),
		"--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"),
		"-H", "unix://" + e.Socket,
		"--shutdown-timeout", "5",
		"--log-level", "warn"}, e.args...)
	if len(e.lacks) > 0 {
		args = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-ec",
			`for c in $0; do umount -l "/sys/fs/cgroup/$c"; done; exec "$@"`, strings.Join(e.lacks, " ")}, args...)
	}
	if e.run != "" {
		args = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" /run && exec "$@"`, e.run}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if e.proc, err = start("dockerd", e.logPath(), cmd); err != nil {
		return err
	}
	if err := poll(60*time.Second, e.ping); err != nil {
		return fmt.Errorf("start the engine: %w\n%s", err, tail(e.logPath(), 30))
	}
	return nil
}

func (e *Engine) ping() error {
	if !e.proc.alive() {
		return fmt.Errorf("dockerd ended with code %d", e.proc.ExitCode())
	}
	_, err := e.Do(http.MethodGet, "/_ping", nil, nil)
	return err
}

func (e *Engine) ensureRunning() error {
	if e.proc != nil && e.proc.alive() {
		return nil
	}
	return e.start()
}

// Start brings a stopped or killed engine back and waits until it answers.
func (e *Engine) Start(t testing.TB) {
	t.Helper()
	if err := e.ensureRunning(); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the engine in good order: it stops its containers first.
func (e *Engine) Stop(t testing.TB) {
	t.Helper()
	if err := e.proc.end(syscall.SIGTERM, 60*time.Second); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the engine and its containerd with SIGKILL; the containers' own processes stay.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	runtime := e.containerdPID()
	if err := e.proc.end(syscall.SIGKILL, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if runtime > 0 {
		syscall.Kill(runtime, syscall.SIGKILL)
	}
	// A machine whose first process is slow to reap would make the next engine wait for a containerd
	// that is only a zombie.
	os.Remove(e.containerdPIDFile())
	os.Remove(e.Socket)
}

func (e *Engine) containerdPIDFile() string {
	return filepath.Join(e.dir, "exec/containerd/containerd.pid")
}

// containerdPID is the containerd that this dockerd started, 0 when unknown.
func (e *Engine) containerdPID() int {
	data, err := os.ReadFile(e.containerdPIDFile())
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// discard ends the engine for good, without waiting for containers to stop by themselves.
func (e *Engine) discard() {
	if err := e.ensureRunning(); err == nil {
		e.removeContainers()
	}
	if err := e.proc.end(syscall.SIGTERM, 30*time.Second); err != nil {
		e.proc.end(syscall.SIGKILL, 10*time.Second)
	}
}

func (e *Engine) logPath() string { return filepath.Join(e.dir, "log") }

// dumpLog shows the end of the engine's log when the test has failed.
func (e *Engine) dumpLog(t testing.TB) {
	if t.Failed() {
		t.Logf("engine log, last lines:\n%s", tail(e.logPath(), 20))
	}
}
