package update

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// rest gives memory back to the system once work was followed by quiet. What an apply, a look at the
// engine or an answer leaves behind would else stay for hours, since an idle agent allocates nothing
// that could start a collection. A timer runs only from work to the quiet after it.
type rest struct {
	_ [0]func() // nobody compares it: no code for that

	timer  *time.Timer
	began  time.Time
	hangUp func()
	last   atomic.Int64 // when work was done last, in nanoseconds since began
	spoke  atomic.Int64 // when a conversation ended last, likewise
	armed  atomic.Bool
	over   atomic.Bool   // a conversation is over, and what it needed is garbage whatever was allocated since
	freed  uint64        // bytes allocated in all when memory was given back last; belongs to the timer
	next   time.Duration // since began: not given back before; belongs to the timer
}

const (
	restAfter = 5 * time.Second
	// restAgain is when a last look shows whether other parts of the agent went on working. It is also
	// between two collections at least: somebody who asks now and then does not cause one each time.
	restAgain = 30 * time.Second
	// restWorth is how many bytes must have been allocated for a collection, of some milliseconds, to pay.
	// It is about what one conversation with the cloud leaves.
	restWorth = 16 << 10
)

// newRest returns one at rest. It calls hangUp, which may be nil, when no conversation followed the last one for a
// few seconds.
func newRest(hangUp func()) *rest {
	r := &rest{began: time.Now(), hangUp: hangUp}
	r.timer = time.AfterFunc(time.Hour, r.look)
	r.timer.Stop()
	return r
}

// worked notes that something was done. It is cheap and safe for concurrent use.
func (r *rest) worked() {
	r.last.Store(int64(time.Since(r.began)))
	if r.armed.CompareAndSwap(false, true) {
		r.timer.Reset(restAfter)
	}
}

// ended notes that a conversation is over. Its connection does not wait for the end of a pause between collections.
func (r *rest) ended() {
	r.over.Store(true)
	now := int64(time.Since(r.began))
	r.spoke.Store(now)
	r.last.Store(now)
	r.armed.Store(true)
	r.timer.Reset(restAfter)
}

// look gives memory back, or waits on when there was work meanwhile. It rests itself when there is
// nothing to give back any more.
func (r *rest) look() {
	now := time.Since(r.began)
	if r.hangUp != nil && now-time.Duration(r.spoke.Load()) >= restAfter {
		r.hangUp()
	}
	if left := max(restAfter+time.Duration(r.last.Load()), r.next) - now; left > 0 {
		r.wait(left, now)
		return
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); !r.over.Swap(false) && m.TotalAlloc-r.freed < restWorth {
		r.armed.Store(false)
		return
	}
	runtime.GC() // each takes half of a stack that is no longer needed
	runtime.GC()
	debug.FreeOSMemory()
	unmapProgram()
	r.freed, r.next = m.TotalAlloc, now+restAgain
	r.wait(restAgain, now)
}

// wait has the next look come after a time, or when the connection of a conversation that ended since the last look,
// which began at now, is due to be closed, if that is earlier.
func (r *rest) wait(left, now time.Duration) {
	r.timer.Reset(left) // before spoke is read: what ended sets after it counts
	if closes := restAfter + time.Duration(r.spoke.Load()); closes > now {
		r.timer.Reset(min(left, closes-time.Since(r.began)))
	}
}
