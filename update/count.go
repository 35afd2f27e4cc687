package update

import (
	"sync/atomic"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// counts is what happened since the start. The loop counts, anybody may read.
type counts struct {
	_ [0]func() // nobody compares it: no code for that

	applies                   [len(view.ApplyBounds) + 1]atomic.Uint64
	spent                     atomic.Int64 // nanoseconds
	failures, pulls, unpulled atomic.Uint64
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
		c.unpulled.Add(1)
		fallthrough
	case !ok:
		c.failures.Add(1)
	}
}

// Counts is what the agent did since it started.
func (m *Manager) Counts() view.Counts {
	c := &m.loop.counts
	v := view.Counts{
		ApplySeconds: time.Duration(c.spent.Load()).Seconds(),
		StepFailures: c.failures.Load(), Pulls: c.pulls.Load(), PullFailures: c.unpulled.Load(),
	}
	for i := range c.applies {
		v.Applies[i] = c.applies[i].Load()
	}
	v.EngineCalls, v.EngineErrors = m.engine.Calls()
	return v
}
