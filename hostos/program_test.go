package hostos

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program that hangs, or whose child keeps its output open, does not block the caller. It is killed and waited for.
func TestProgramThatHangs(t *testing.T) {
	dir := t.TempDir()
	number := func(file string) int {
		text, _ := os.ReadFile(filepath.Join(dir, file))
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	for _, script := range []string{"exec sleep 600", "sleep 600 & echo $! >$0/child; wait", "sleep 600 & echo $! >$0/child; exit 1"} {
		proc, stderr, err := hanging(script, dir)
		if err != nil {
			t.Fatal(err)
		}
		for strings.Contains(script, "/child") && number("child") == 0 {
			time.Sleep(time.Millisecond) // otherwise the child would outlive the test
		}
		if err := waitProgram(proc, stderr, 100*time.Millisecond); err == nil {
			t.Errorf("%s: no error", script)
		}
		if err := syscall.Kill(proc.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: the program still runs: %v", script, err)
		}
		if child := number("child"); child > 0 {
			_ = syscall.Kill(child, syscall.SIGKILL)
		}
		_ = os.Remove(filepath.Join(dir, "child"))
	}
}

func hanging(script, dir string) (proc *os.Process, stderr *os.File, err error) {
	stderr, errs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer errs.Close()
	proc, err = startIn("/", []string{"/bin/sh"}, []string{"sh", "-c", script, dir}, nil, nil, errs)
	return proc, stderr, err
}
