package cloud

import (
	"fmt"
	"testing"
	"time"
)

// cloud.md 101: what is set in one go is sent in one go, but a service that sets a tag every few
// seconds is heard as well, and the cloud still has its pause then.
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
	if news, wait := g.pending(began); len(news) != 1 || wait < tagsPause-time.Second {
		t.Fatalf("%v waits %v after it was set", news, wait)
	}
	waited := time.Duration(0)
	for i := 1; ; i++ {
		waited += 5 * time.Second
		set(i)
		g.last = began.Add(waited)
		news, wait := g.pending(began.Add(waited))
		if wait <= 0 {
			if err := g.took(news, true); err != nil {
				t.Fatal(err)
			}
			break
		}
		if waited > 2*tagsMost {
			t.Fatal("a tag that is set every 5 s is never sent")
		}
	}
	if waited < tagsPause {
		t.Errorf("sent after %v", waited)
	}
	set(1000)
	if _, wait := g.pending(time.Now()); wait < tagsPause-time.Second {
		t.Errorf("the next one waits only %v", wait)
	}
}
