package retry

import (
	"context"
	"math"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 6: 10, math.MaxInt: 10} {
		if got := Backoff(n, time.Second, 10*time.Second); got != want*time.Second {
			t.Errorf("after %d failures %v, want %v", n, got, want*time.Second)
		}
	}
	if got := Backoff(1, time.Minute, time.Second); got != time.Second {
		t.Errorf("the delay %v is above the limit", got)
	}
}

func TestSleep(t *testing.T) {
	if !Sleep(context.Background(), time.Millisecond) {
		t.Error("Sleep ended early")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if Sleep(ctx, time.Hour) {
		t.Error("Sleep ignored the end of the context")
	}
}
