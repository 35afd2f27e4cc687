package harness

import (
	"fmt"
	"testing"
	"time"
)

// pollEvery is the pause between two looks at the real thing.
const pollEvery = 20 * time.Millisecond

// poll looks until check answers nil and returns its last error when the time is over.
func poll(within time.Duration, check func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", within, err)
		}
		time.Sleep(pollEvery)
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
