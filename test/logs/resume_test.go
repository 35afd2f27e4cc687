package logs_test

import (
	"errors"
	"fmt"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// ticks waits until a service ticked on for a while, and tells how many of its numbers came how often.
func ticks(t *testing.T, cloud *fakecloud.Cloud, more int) (newest int, times map[int]int) {
	t.Helper()
	before := len(numbered(cloud.Logs(), "tick"))
	harness.Until(t, harness.Soon, "more ticks", func() error {
		if n := len(numbered(cloud.Logs(), "tick")); n < before+more {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
	times = make(map[int]int)
	for _, n := range numbered(cloud.Logs(), "tick") {
		times[n]++
		newest = max(newest, n)
	}
	return newest, times
}

// cloud.md 76: over a stop nothing is lost and nothing comes twice, also when the containers wrote more
// meanwhile than the queue holds. Over a kill nothing is lost, and the lines of the last second or so
// may come twice.
func TestResume(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	s := managed(t, cloud, nil, harness.ServerImage("logs/web:v1").Load(t).Service("web", 11).Composed("tty", false).Setting("TICK", "3ms"))
	ticks(t, cloud, 1)
	s.Stop()
	s.Print("web", "n=3000&text=meanwhile&size=300")
	s.Start()
	harness.Until(t, harness.Soon, "the lines of meanwhile", func() error {
		if got := numbered(cloud.Logs(), "meanwhile"); len(got) < 3000 {
			return fmt.Errorf("%d are there, missing are %v", len(got), gaps(got))
		}
		return nil
	})
	stopped, times := ticks(t, cloud, 100)
	stopped -= 10 // both outputs are on their way
	for i := range stopped {
		if times[i] != 1 {
			t.Errorf("tick %d came %d times", i, times[i])
		}
	}
	wantAll(t, cloud.Logs(), "meanwhile", 3000)

	ticks(t, cloud, 1000) // a few seconds
	streams := cloud.Streams()
	s.Kill()
	harness.Until(t, harness.Soon, "the end of the stream", func() error {
		if ended, _ := streams[len(streams)-1].Ended(); !ended {
			return errors.New("it is open")
		}
		return nil
	})
	killed, _ := ticks(t, cloud, 0)
	s.Start()
	newest, times := ticks(t, cloud, 100)
	repeated := 0
	for i := range newest - 10 {
		if times[i] < 1 || times[i] > 2 || times[i] == 2 && (i < stopped || i > killed) {
			t.Errorf("tick %d came %d times", i, times[i])
		}
		repeated += times[i] - 1
	}
	t.Logf("of %d ticks %d came twice", killed, repeated)
}

// gaps are the numbers that are missing, up to the newest.
func gaps(numbers []int) []int {
	times, newest := make(map[int]int), 0
	for _, n := range numbers {
		times[n]++
		newest = max(newest, n)
	}
	var missing []int
	for i := range newest {
		if times[i] == 0 {
			missing = append(missing, i)
		}
	}
	return missing
}
