package reconcile

import (
	"testing"
	"time"

	"resin-supervisor/update/plan"
)

func TestCounts(t *testing.T) {
	l := &Loop{}
	c := &l.counts
	for _, d := range []time.Duration{0, time.Second, time.Second + 1, 5 * time.Minute, time.Hour} {
		c.applied(d)
	}
	for _, s := range []struct {
		kind plan.Kind
		ok   bool
	}{{plan.Fetch, true}, {plan.Fetch, true}, {plan.Fetch, false}, {plan.Start, true}, {plan.Start, false}} {
		c.step(plan.Step{Kind: s.kind}, s.ok)
	}
	got := l.Counts()
	if got.Applies != [...]uint64{2, 1, 0, 0, 1, 0, 1} || got.ApplySeconds != 3902.000000001 {
		t.Errorf("applies %v, %v seconds", got.Applies, got.ApplySeconds)
	}
	if got.Pulls != 2 || got.PullFailures != 1 || got.StepFailures != 2 {
		t.Errorf("%+v", got)
	}
}
