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
	harness.Until(t, soon, "more ticks", func() error {
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

// cloud.md 76, after a stop.
func TestNothingIsLostOrRepeatedOverARestart(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	s := managed(t, cloud, nil, service("web", 11, serverImage(t, "logs/web:v1")).Composed("tty", false).Setting("TICK", "3ms"))
	ticks(t, cloud, 1)
	for round := range 2 {
		s.Stop()
		before := len(numbered(cloud.Logs(), "tick"))
		print(t, s, "web", fmt.Sprintf("n=3000&text=meanwhile%d&size=300", round)) // more than the queue holds
		s.Start()
		ticks(t, cloud, 1)
		harness.Until(t, soon, "the lines of meanwhile", func() error {
			if n := len(numbered(cloud.Logs(), fmt.Sprintf("meanwhile%d", round))); n < 3000 {
				return fmt.Errorf("%d are there: %v", n, gaps(numbered(cloud.Logs(), fmt.Sprintf("meanwhile%d", round))))
			}
			return nil
		})
		newest, times := ticks(t, cloud, 100)
		if newest < before {
			t.Fatalf("%d ticks came before and %d after", before, newest)
		}
		for i := range newest - 10 { // both outputs are on their way
			if times[i] != 1 {
				t.Errorf("tick %d came %d times", i, times[i])
			}
		}
		wantAll(t, cloud.Logs(), fmt.Sprintf("meanwhile%d", round), 3000)
	}
}

// cloud.md 76, after a kill: nothing is lost, and at most the lines of the last second or so come
// again, all of them in one piece.
func TestNothingIsLostOverAKill(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	s := managed(t, cloud, nil, service("web", 11, serverImage(t, "logs/web:v1")).Composed("tty", false).Setting("TICK", "3ms"))
	ticks(t, cloud, 2000)
	s.Kill()
	harness.Until(t, soon, "the end of the stream", func() error {
		if ended, _ := cloud.Streams()[0].Ended(); !ended {
			return errors.New("it is open")
		}
		return nil
	})
	killed, _ := ticks(t, cloud, 0)
	s.Start()
	newest, times := ticks(t, cloud, 1000)
	repeated := 0
	for i := range newest - 10 {
		if times[i] < 1 || times[i] > 2 {
			t.Errorf("tick %d came %d times", i, times[i])
		}
		if times[i] == 2 {
			repeated++
			if i > killed {
				t.Errorf("tick %d came twice, and is younger than the kill", i)
			}
		}
	}
	t.Logf("%d of %d ticks came twice", repeated, killed)
	if repeated > killed/2 {
		t.Errorf("%d of %d ticks came twice", repeated, killed)
	}
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
