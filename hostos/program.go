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

// programPatience bounds how long a program may run: one that hangs would keep all later ones waiting.
const programPatience = time.Minute

// runIn runs a program of the host whose root is mounted at root, with text as its input, and waits for
// its end, which comes by force when it takes too long. The error has the program's own words when it does not succeed.
func runIn(root, name, text string, args ...string) error {
	proc, said, err := feedIn(root, name, text, args)
	if err == nil {
		err = outcome(proc, said, programPatience)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// LoadModule has the kernel load a module of the host whose root is mounted at root, with what it needs, by the
// host's own modprobe, which knows which of them are built in. The error has the words of modprobe.
func LoadModule(root, name string) error { return runIn(root, "modprobe", "", name) }

// feedIn starts a program that reads text, and hands out what it says is wrong.
func feedIn(root, name, text string, args []string) (proc *os.Process, said *os.File, err error) {
	program := programIn(root, name)
	if program == "" {
		return nil, nil, fs.ErrNotExist
	}
	in, feed, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	_, err = feed.WriteString(text) // a pipe holds at least a page
	_ = feed.Close()
	if err != nil {
		return nil, nil, err
	}
	said, errs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer errs.Close()
	if proc, err = startIn(root, []string{program}, append([]string{name}, args...), in, nil, errs); err != nil {
		_ = said.Close()
	}
	return proc, said, err
}

// programIn is where the host has one of its programs for administrators, empty when it has none.
func programIn(root, name string) string {
	for _, dir := range [...]string{"/usr/sbin/", "/sbin/"} {
		// Not what a link leads to: that is meant for a process of the host.
		if _, err := os.Lstat(root + dir + name); err == nil {
			return dir + name
		}
	}
	return ""
}

// outcome waits for the end of a program, which comes by force when patience is over: an error with its own words unless it succeeded.
func outcome(proc *os.Process, said io.ReadCloser, patience time.Duration) error {
	defer said.Close()
	defer time.AfterFunc(patience, func() { _ = proc.Kill(); _ = said.Close() }).Stop()
	words, _ := io.ReadAll(io.LimitReader(said, 1000))
	state, err := proc.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String() + ": " + strings.Join(strings.Fields(string(words)), " "))
	}
	return err
}

// startIn starts the first of the programs that exists below root, as seen from there. A file that is
// nil is nothing to read from and nowhere to write to.
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
