package reconcile

import (
	"testing"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// What is remembered of apps goes with them, and a new target ends the trust in earlier checks.
func TestAppsThatWentAreForgotten(t *testing.T) {
	l := newLoop(t, parts{})
	for _, uuid := range []string{"aa", "bb"} {
		l.memory.recorded[uuid] = &target.App{}
		l.status.Reasons[current.Slot(uuid, "web")] = "start"
	}
	l.found.checked["web:2"] = time.Now()
	l.backoff.Failed(plan.Step{Kind: plan.Start, Key: "bb web", AppUUID: "bb"}, time.Now())
	l.setTarget(&target.State{Apps: map[string]*target.App{"bb": {UUID: "bb"}}}, false)
	if len(l.found.checked) != 0 {
		t.Error("a preflight for another target counts")
	}
	if !l.backoff.Until(plan.Step{Kind: plan.Start, Key: "bb web", AppUUID: "bb"}).IsZero() {
		t.Error("what failed waits on after another target")
	}
	if len(l.memory.recorded)+len(l.status.Reasons) != 2 || l.memory.recorded["bb"] == nil || l.status.Reasons["bb/web"] == "" {
		t.Errorf("%v %v", l.memory.recorded, l.status.Reasons)
	}
}
