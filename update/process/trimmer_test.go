package process

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Somebody who asks now and then does not cause a collection each time: there is a while between two,
// however much was allocated.
func TestTrimmerPausesBetweenCollections(t *testing.T) {
	collections := 0
	r := NewTrimmer(nil)
	var kept [][]byte
	for range 5 {
		for range 100 {
			kept = append(kept, make([]byte, 4096))
		}
		r.armed.Store(true)
		r.worked.Store(int64(time.Since(r.began) - trimAfter))
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
func TestTrimmerAfterAConversation(t *testing.T) {
	look := func(ended bool) (collected bool) {
		r := NewTrimmer(nil)
		if ended {
			r.ConversationEnded()
		}
		r.worked.Store(int64(time.Since(r.began) - trimAfter))
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

// A connection that is kept for a next conversation is let go of a few seconds after the last one, whatever else the
// agent does meanwhile, and also in the pause between two collections.
func TestTrimmerHangsUp(t *testing.T) {
	hangUps := 0
	r := NewTrimmer(func() { hangUps++ })
	look := func(work, spoke, next time.Duration, want int) {
		t.Helper()
		now := time.Since(r.began)
		r.worked.Store(int64(now - work))
		r.ended.Store(int64(now - spoke))
		r.next = now + next
		hangUps = 0
		if r.look(); hangUps != want {
			t.Errorf("work %v, conversation %v ago: %d times, want %d", work, spoke, hangUps, want)
		}
	}
	look(trimAfter, trimAfter, 0, 1)
	look(trimAfter, trimAfter, trimPause, 1)
	look(0, trimAfter, 0, 1)
	look(0, -time.Hour, 0, 0)
	r.ConversationEnded()
	if left := r.timer.Stop(); !left || !r.armed.Load() {
		t.Error("nothing follows the end of a conversation")
	}
}

// A conversation that ends during a look does not wait for the look after a pause between two collections.
func TestTrimmerHangsUpAfterAConversationDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *Trimmer
		var hangUps []time.Duration
		r = NewTrimmer(func() {
			if hangUps = append(hangUps, time.Since(r.began)); len(hangUps) == 1 {
				r.ConversationEnded()
			}
		})
		r.next = trimPause
		r.ConversationEnded()
		time.Sleep(trimPause - time.Second)
		synctest.Wait()
		r.timer.Stop()
		if want := []time.Duration{trimAfter, 2 * trimAfter}; !slices.Equal(hangUps, want) {
			t.Errorf("hangs up after %v, want %v", hangUps, want)
		}
	})
}
