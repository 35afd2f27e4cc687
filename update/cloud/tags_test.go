package cloud

import (
	"fmt"
	"testing"
	"time"
)

// cloud.md 101: tags that are set together are sent together. The tags of a service that sets one every few seconds are
// sent too, with a pause between calls.
func TestTagsThatNeverRest(t *testing.T) {
	g := &tags{}
	if err := g.open(nothing{}); err != nil {
		t.Fatal(err)
	}
	set := func(i int) {
		t.Helper()
		if err := g.set(map[string]string{"beat": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	began := time.Now()
	if changes, wait := g.pending(began); len(changes) != 1 || wait < tagsQuiet-time.Second {
		t.Fatalf("%v waits %v after it was set", changes, wait)
	}
	waited := time.Duration(0)
	for i := 1; ; i++ {
		waited += 5 * time.Second
		set(i)
		g.last = began.Add(waited)
		changes, wait := g.pending(began.Add(waited))
		if wait <= 0 {
			if err := g.record(changes, true); err != nil {
				t.Fatal(err)
			}
			break
		}
		if waited > 2*tagsMaxWait {
			t.Fatal("a tag that is set every 5 s is never sent")
		}
	}
	if waited < tagsQuiet {
		t.Errorf("sent after %v", waited)
	}
	set(1000)
	if _, wait := g.pending(time.Now()); wait < tagsQuiet-time.Second {
		t.Errorf("the next one waits only %v", wait)
	}
}
