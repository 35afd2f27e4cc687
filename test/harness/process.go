package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that the harness started and alone may end.
type Process struct {
	name string
	cmd  *exec.Cmd // nil for one in a container
	jail *jail     // the container it is the first process of
	done chan struct{}
}

// start runs a program with its output appended to a log file. It dies with the test binary.
func start(name, logPath string, cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Start starts a program that runs until the test ends, or Stop. Its output is shown when the test
// failed.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	name := filepath.Base(cmd.Path)
	log := filepath.Join(t.TempDir(), "log")
	p, err := start(name, log, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("%s, last lines:\n%s", name, tail(log, 30))
		}
	})
	return p
}

// Stop ends a program that ends when it is asked to.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if err := p.end(syscall.SIGTERM, 10*time.Second); err != nil {
		t.Error(err)
	}
}

// PID is the process id.
func (p *Process) PID() int {
	if p.jail != nil {
		return p.jail.pid
	}
	return p.cmd.Process.Pid
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the exit code of an ended process, -1 when a signal ended it.
func (p *Process) ExitCode() int {
	if p.jail != nil {
		return p.jail.code
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *Process) signal(sig syscall.Signal) error {
	if p.jail != nil {
		return p.jail.signal(sig)
	}
	return p.cmd.Process.Signal(sig)
}

func (p *Process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end sends a signal and waits for the end of the process.
func (p *Process) end(sig syscall.Signal, within time.Duration) error {
	if !p.alive() {
		return nil
	}
	if err := p.signal(sig); err != nil && p.alive() {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return poll(within, func() error {
		if p.alive() {
			return fmt.Errorf("end %s with %v: it is still there", p.name, sig)
		}
		return nil
	})
}

// tail is the last lines of a file.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
