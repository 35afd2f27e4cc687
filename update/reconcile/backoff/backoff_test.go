package backoff

import (
	"fmt"
	"testing"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
)

// engine.md 56: delays are 1, 2, 4 ... seconds up to the Limit; reset and success begin anew.
func TestFailuresWaitLongerEachTime(t *testing.T) {
	b := New(10 * time.Second)
	s, now := plan.Step{Kind: plan.Start, Key: "a/service web", AppUUID: "a"}, time.Unix(100, 0)
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if got := b.Failed(s, now).Sub(now); got != want*time.Second {
			t.Errorf("failure %d: waits %v, want %v", i+1, got, want*time.Second)
		}
	}
	if other := (plan.Step{Kind: plan.Fetch, Key: "image x", AppUUID: "a"}); !b.Until(other).IsZero() {
		t.Error("another step waits too")
	}
	b.Done(s, now)
	if !b.Until(s).IsZero() {
		t.Error("a step waits after it was done")
	}
	b.Failed(s, now)
	b.Reset()
	if !b.Until(s).IsZero() {
		t.Error("a step waits after the reset")
	}
}

func TestAStepWithoutEffectWaits(t *testing.T) {
	b := New(time.Minute)
	s, now := plan.Step{Kind: plan.Kill, Key: "a/service web", AppUUID: "a", Reason: "cpus: 1 -> 2"}, time.Unix(100, 0)
	if b.Done(s, now) {
		t.Error("the first time counts as a repetition")
	}
	s.Container = &current.Container{ImageEngine: "sha256:b"}
	if b.Done(s, now) {
		t.Error("a container of another image counts as a repetition")
	}
	for i, want := range []time.Duration{1, 2, 4} {
		s.Reason = fmt.Sprintf("cpus: %d -> 9", i) // the engine may say something else each time
		if !b.Done(s, now) {
			t.Errorf("repetition %d was not noticed", i+1)
		}
		if got := b.Until(s).Sub(now); got != want*time.Second {
			t.Errorf("repetition %d: waits %v, want %v", i+1, got, want*time.Second)
		}
	}
	b.Settled("a")
	b.Reached(now)
	if !b.Done(s, now) {
		t.Error("a repetition is not noticed after the app was settled in between")
	}
	b.Reached(now.Add(Quiet + 9*time.Second))
	if b.Done(s, now.Add(Quiet+9*time.Second)) {
		t.Error("a repetition is noticed after a long Quiet time")
	}
	b.Forget("a")
	if b.Done(s, now) {
		t.Error("a repetition is noticed although something else was wanted in between")
	}
}

// Settings that change once more are another wish, not a change that had no effect.
func TestAnotherChangeOfSettingsDoesNotWait(t *testing.T) {
	b := New(time.Minute)
	for i, want := range []bool{false, false, true} {
		s := plan.Step{Kind: plan.Set, Key: "configuration", Reason: "a: 1 -> 2", Changes: []settings.Change{{Name: "a"}}}
		if i == 0 {
			s.Reason = "a: 2 -> 1"
		}
		if b.Done(s, time.Unix(100, 0)) != want {
			t.Errorf("change %d: want repeated %v", i+1, want)
		}
	}
}

// What is stopped again and again in order to be replaced is not kept down: only the stop waits.
func TestAStepThatUndoesAnotherDoesNotMakeItWait(t *testing.T) {
	b, now := New(time.Minute), time.Unix(100, 0)
	kill := plan.Step{Kind: plan.Kill, Key: "a/service web", AppUUID: "a", Reason: "cpus: 1 -> 2"}
	start := plan.Step{Kind: plan.Start, Key: "a/service web", AppUUID: "a", Reason: "no container"}
	for i, again := range []bool{false, true, true} {
		if b.Done(kill, now) != again {
			t.Errorf("kill %d: want repeated %v", i+1, again)
		}
		if b.Done(start, now) || b.Until(start).After(now) {
			t.Errorf("start %d must wait", i+1)
		}
	}
	if !b.Done(start, now) {
		t.Error("a second start without a kill is not noticed")
	}
}

func TestSettlingAnAppLeavesOthersWaiting(t *testing.T) {
	b := New(time.Minute)
	s := plan.Step{Kind: plan.Fetch, Key: "image x", AppUUID: "b"}
	b.Failed(s, time.Unix(100, 0))
	b.Settled("a")
	if b.Until(s).IsZero() {
		t.Error("the step of another app does not wait any more")
	}
	b.RetryNow()
	if !b.Until(s).IsZero() {
		t.Error("the step waits although everything is to be tried now")
	}
}
