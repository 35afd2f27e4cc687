package update

import (
	"runtime"
	"testing"
	"time"
)

// Somebody who asks now and then does not cause a collection each time: there is a while between two,
// however much was allocated.
func TestRestPausesBetweenCollections(t *testing.T) {
	collections := 0
	r := newRest()
	var kept [][]byte
	for range 5 {
		for range 100 {
			kept = append(kept, make([]byte, 4096))
		}
		r.armed.Store(true)
		r.last.Store(int64(time.Since(r.began) - restAfter))
		before := r.freed
		if r.look(); r.freed != before {
			collections++
		}
	}
	if r.timer.Stop(); collections != 1 || len(kept) != 500 || !r.armed.Load() {
		t.Errorf("%d collections, armed %v", collections, r.armed.Load())
	}
}

// What a conversation needed is garbage at its end, however little was allocated since the last collection.
func TestRestAfterAConversation(t *testing.T) {
	look := func(ended bool) (collected bool) {
		r := newRest()
		if ended {
			r.ended()
		}
		r.last.Store(int64(time.Since(r.began) - restAfter))
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.freed = m.TotalAlloc
		r.look()
		r.timer.Stop()
		return r.next != 0
	}
	if look(false) || !look(true) {
		t.Error("the end of a conversation makes no difference")
	}
}
