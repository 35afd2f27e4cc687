// Package process looks after the memory of the agent's own process.
package process

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Trimmer gives memory back to the system once work was followed by quiet. What an apply, an inspection or an answer
// leaves behind would stay for hours otherwise, since an idle agent allocates nothing that could start a collection. A
// timer runs only from work to the quiet after it. It is safe for concurrent use.
type Trimmer struct {
	timer  *time.Timer
	began  time.Time
	hangUp func()
	worked atomic.Int64 // when work was done last, in nanoseconds since began
	ended  atomic.Int64 // when a conversation ended last, likewise
	armed  atomic.Bool
	over   atomic.Bool   // a conversation is over, and what it needed is garbage whatever was allocated since
	freed  uint64        // bytes allocated in all when memory was given back last; belongs to the timer
	next   time.Duration // since began: nothing is given back before; belongs to the timer
}

const (
	trimAfter = 5 * time.Second
	// trimPause is the time between two collections at least, so that somebody who asks now and then does not cause one
	// each time. It is also the time to a last look, which shows whether other parts of the agent went on working.
	trimPause = 30 * time.Second
	// trimWorth is how many bytes must have been allocated for a collection of some milliseconds to pay. It is about
	// what one conversation with the cloud leaves.
	trimWorth = 16 << 10
)

// NewTrimmer is a trimmer at rest. It calls hangUp, which may be nil, when no conversation followed the last one for a
// few seconds.
func NewTrimmer(hangUp func()) *Trimmer {
	t := &Trimmer{began: time.Now(), hangUp: hangUp}
	t.timer = time.AfterFunc(time.Hour, t.look)
	t.timer.Stop()
	return t
}

// Worked says that something was done. It is cheap.
func (t *Trimmer) Worked() {
	t.worked.Store(int64(time.Since(t.began)))
	if t.armed.CompareAndSwap(false, true) {
		t.timer.Reset(trimAfter)
	}
}

// ConversationEnded says that a conversation is over. Its connection does not wait for the end of a pause between
// collections.
func (t *Trimmer) ConversationEnded() {
	t.over.Store(true)
	now := int64(time.Since(t.began))
	t.ended.Store(now)
	t.worked.Store(now)
	t.armed.Store(true)
	t.timer.Reset(trimAfter)
}

// look gives memory back, or waits on when there was work meanwhile. The timer stops when there is nothing to give back
// any more.
func (t *Trimmer) look() {
	now := time.Since(t.began)
	if t.hangUp != nil && now-time.Duration(t.ended.Load()) >= trimAfter {
		t.hangUp()
	}
	if left := max(trimAfter+time.Duration(t.worked.Load()), t.next) - now; left > 0 {
		t.wait(left, now)
		return
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); !t.over.Swap(false) && m.TotalAlloc-t.freed < trimWorth {
		t.armed.Store(false)
		return
	}
	runtime.GC() // each takes half of a stack that is no longer needed
	runtime.GC()
	debug.FreeOSMemory()
	t.freed, t.next = m.TotalAlloc, now+trimPause
	t.wait(trimPause, now)
}

// wait has the next look come after a time. It comes earlier when the connection of a conversation that ended since the
// last look, which began at now, is due to be closed.
func (t *Trimmer) wait(left, now time.Duration) {
	t.timer.Reset(left) // before ended is read: what ConversationEnded sets after it counts
	if closes := trimAfter + time.Duration(t.ended.Load()); closes > now {
		t.timer.Reset(min(left, closes-time.Since(t.began)))
	}
}
