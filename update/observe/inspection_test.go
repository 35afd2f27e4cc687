package observe

import (
	"testing"
	"time"

	"resin-supervisor/update/current"
)

// An event is skipped only when a look that began after it is known to have seen what it tells of.
func TestCovers(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	wall := func(d time.Duration) time.Time { return now.Round(0).Add(-d) } // as the engine says it
	f := func(what string, look, at time.Time, want bool) {
		t.Helper()
		if got := covers(look, at, now); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("no look", time.Time{}, wall(time.Millisecond), false)
	f("an event without a time", ago(time.Millisecond), time.Time{}, false)
	f("a look after the event", ago(time.Millisecond), wall(2*time.Millisecond), true)
	f("a look before the event", ago(2*time.Millisecond), wall(time.Millisecond), false)
	f("an event that comes late", ago(time.Millisecond), wall(2*coverSpan), false)
	f("an event from the future", ago(time.Millisecond), wall(-time.Second), false)
	f("a look at the same time", wall(time.Millisecond), wall(time.Millisecond), false)
}

// What a silent stream hides is found by comparing, and nothing else is taken for it.
func TestDiffers(t *testing.T) {
	cur := &current.State{Containers: map[string]*current.Container{"a": {ID: "a", Status: "running"}, "b": {ID: "b", Status: "exited"}}}
	f := func(what string, found map[string]string, want bool) {
		t.Helper()
		if got := differs(cur, found); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("the same", map[string]string{"a": "running", "b": "exited"}, false)
	f("another state", map[string]string{"a": "exited", "b": "exited"}, true)
	f("one gone", map[string]string{"a": "running"}, true)
	f("one more", map[string]string{"a": "running", "b": "exited", "c": "created"}, true)
	f("one for another", map[string]string{"a": "running", "c": "exited"}, true)
}
