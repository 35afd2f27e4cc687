package reconcile

import (
	"sync/atomic"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// counts is what happened since the start. The loop counts, anybody may read.
type counts struct {
	applies                       [len(view.ApplyBounds) + 1]atomic.Uint64
	spent                         atomic.Int64 // nanoseconds
	failures, pulls, pullFailures atomic.Uint64
}

// applied counts an apply that reached the target after d.
func (c *counts) applied(d time.Duration) {
	class := 0
	for class < len(view.ApplyBounds) && d > time.Duration(view.ApplyBounds[class])*time.Second {
		class++
	}
	c.applies[class].Add(1)
	c.spent.Add(int64(d))
}

func (c *counts) step(s plan.Step, ok bool) {
	fetch := s.Kind == plan.Fetch
	switch {
	case ok && fetch:
		c.pulls.Add(1)
	case !ok && fetch:
		c.pullFailures.Add(1)
		fallthrough
	case !ok:
		c.failures.Add(1)
	}
}

// Counts is what the loop did since it started. The calls of the engine are not in it.
func (l *Loop) Counts() view.Counts {
	c := &l.counts
	v := view.Counts{
		ApplySeconds: time.Duration(c.spent.Load()).Seconds(),
		StepFailures: c.failures.Load(), Pulls: c.pulls.Load(), PullFailures: c.pullFailures.Load(),
	}
	for i := range c.applies {
		v.Applies[i] = c.applies[i].Load()
	}
	return v
}
