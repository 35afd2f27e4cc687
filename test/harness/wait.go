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

// pollEvery is the pause between two looks at the real thing.
const pollEvery = 20 * time.Millisecond

// poll looks until check answers nil and returns its last error when the time is over.
func poll(within time.Duration, check func() error) error {
	began, left := time.Now(), patience{left: within}
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

// patience is a time that passes more slowly on a busy machine: where n times as many tasks want to run
// as there are processors, a second counts as 1/n. So a test is slow there, and not wrong.
type patience struct {
	left       time.Duration
	last, read time.Time
	crowd      float64
}

// over takes off the time since the last call, and reports whether nothing is left.
func (p *patience) over() bool {
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

// Until looks again and again until check answers nil; the test ends when it did not in time.
func Until(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	if err := poll(within, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Throughout fails the test as soon as check answers an error during the given time. It is for
// things that must not happen.
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
