package hostos

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// programTimeout limits the run time of a program, because a program that hangs would block all later ones.
const programTimeout = time.Minute

// runIn runs a program of the host whose root is mounted at root, with text as its input, and waits for its end. It
// kills the program after programTimeout. If the program fails, the error has its error output.
func runIn(root, name, text string, args ...string) error {
	proc, stderr, err := startWithInput(root, name, text, args)
	if err == nil {
		err = waitProgram(proc, stderr, programTimeout)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// LoadModule loads a kernel module of the host whose root is mounted at root, with its dependencies. It runs the host's
// modprobe. The error has modprobe's error output.
func LoadModule(root, name string) error { return runIn(root, "modprobe", "", name) }

// startWithInput starts a program with text as its input, and returns its error output.
func startWithInput(root, name, text string, args []string) (proc *os.Process, stderr *os.File, err error) {
	program := programIn(root, name)
	if program == "" {
		return nil, nil, fs.ErrNotExist
	}
	in, feed, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	_, err = feed.WriteString(text) // does not block: a pipe holds at least a page
	_ = feed.Close()
	if err != nil {
		return nil, nil, err
	}
	stderr, errs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer errs.Close()
	if proc, err = startIn(root, []string{program}, append([]string{name}, args...), in, nil, errs); err != nil {
		_ = stderr.Close()
	}
	return proc, stderr, err
}

// programIn returns the path of one of the host's system programs, empty if the host does not have it.
func programIn(root, name string) string {
	for _, dir := range [...]string{"/usr/sbin/", "/sbin/"} {
		// do not follow a link: its target is a path below root
		if _, err := os.Lstat(root + dir + name); err == nil {
			return dir + name
		}
	}
	return ""
}

// waitProgram waits for the end of a program, and kills it after the timeout. If the program fails, the error has its
// error output.
func waitProgram(proc *os.Process, stderr io.ReadCloser, timeout time.Duration) error {
	defer stderr.Close()
	defer time.AfterFunc(timeout, func() { _ = proc.Kill(); _ = stderr.Close() }).Stop()
	words, _ := io.ReadAll(io.LimitReader(stderr, 1000))
	state, err := proc.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String() + ": " + strings.Join(strings.Fields(string(words)), " "))
	}
	return err
}

// startIn starts the first of the programs that exists, with root as its root directory. A nil file stands for
// /dev/null.
func startIn(root string, programs, args []string, in, out, errs *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := []*os.File{in, out, errs}
	for i, f := range files {
		if f == nil {
			files[i] = null
		}
	}
	attr := &os.ProcAttr{Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}, Files: files}
	if filepath.Clean(root) != "/" {
		attr.Sys = &syscall.SysProcAttr{Chroot: root}
	}
	for _, program := range programs {
		var proc *os.Process
		if proc, err = os.StartProcess(program, args, attr); !errors.Is(err, fs.ErrNotExist) {
			return proc, err
		}
	}
	return nil, err
}
