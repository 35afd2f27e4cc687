// Package retry holds the waiting that all retries share: the back-off and a sleep that a context ends. It is a
// leaf.
package retry

import (
	"context"
	"time"
)

// Backoff returns the delay after the nth failure in a row, n from 1: base, twice base, four times base ... up to
// the limit.
func Backoff(n int, base, limit time.Duration) time.Duration {
	delay := base
	for ; n > 1 && delay < limit; n-- {
		delay *= 2
	}
	return min(delay, limit)
}

// Sleep waits for d. It returns false at once when ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
