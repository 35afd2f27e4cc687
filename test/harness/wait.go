package harness

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// Soon is how long a test waits for what takes a moment on a machine with nothing else to do.
const Soon = 30 * time.Second

// pollEvery is the pause between two checks.
const pollEvery = 20 * time.Millisecond

// poll calls check until it answers nil, and returns its last error when the time is over.
func poll(within time.Duration, check func() error) error {
	began, left := time.Now(), busyTimeout{left: within}
	for {
		err := check()
		if err == nil {
			return nil
		}
		if left.over() {
			return fmt.Errorf("not within %v (%v on this busy machine): %w", within, time.Since(began).Round(time.Second), err)
		}
		time.Sleep(pollEvery)
	}
}

// busyTimeout is a timeout that runs more slowly on a busy machine: where n times as many tasks want to run as
// there are processors, a second counts as 1/n. There a test is slow, and does not fail.
type busyTimeout struct {
	left       time.Duration
	last, read time.Time
	crowd      float64
}

// over takes off the time since the last call, and reports whether nothing is left.
func (p *busyTimeout) over() bool {
	now := time.Now()
	if now.Sub(p.read) > time.Second {
		p.read, p.crowd = now, max(1, load()/float64(runtime.NumCPU()))
	}
	if !p.last.IsZero() {
		p.left -= time.Duration(float64(now.Sub(p.last)) / p.crowd)
	}
	p.last = now
	return p.left <= 0
}

// Busy tells that so many tasks want to run that what takes milliseconds may take seconds.
func Busy() bool { return load() > 4*float64(runtime.NumCPU()) }

// load is how many tasks wanted to run in the last minute, on average.
func load() (tasks float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(text), &tasks) // where it cannot be read, the machine counts as quiet
	return tasks
}

// Exists tells whether there is a file of this path.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Must ends the test at the first error of several calls.
func Must(t testing.TB, errs ...error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
}

// Until calls check until it answers nil. The test ends when the time is over before.
func Until(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	if err := poll(within, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Throughout calls check for the given time, and ends the test at its first error. It is for things that must not
// happen.
func Throughout(t testing.TB, during time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(during)
	for time.Now().Before(deadline) {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(pollEvery)
	}
}
