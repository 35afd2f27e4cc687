package update

import (
	"fmt"
	"testing"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
)

// engine.md 56: delays are 1, 2, 4 ... seconds up to the limit; reset and success begin anew.
func TestFailuresWaitLongerEachTime(t *testing.T) {
	b := newBackoff(10 * time.Second)
	s, now := plan.Step{Kind: plan.Start, Key: "a/service web", AppUUID: "a"}, time.Unix(100, 0)
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if got := b.failed(s, now).Sub(now); got != want*time.Second {
			t.Errorf("failure %d: waits %v, want %v", i+1, got, want*time.Second)
		}
	}
	if other := (plan.Step{Kind: plan.Fetch, Key: "image x", AppUUID: "a"}); !b.until(other).IsZero() {
		t.Error("another step waits too")
	}
	b.done(s, now)
	if !b.until(s).IsZero() {
		t.Error("a step waits after it was done")
	}
	b.failed(s, now)
	b.reset()
	if !b.until(s).IsZero() {
		t.Error("a step waits after the reset")
	}
}

func TestAStepWithoutEffectWaits(t *testing.T) {
	b := newBackoff(time.Minute)
	s, now := plan.Step{Kind: plan.Kill, Key: "a/service web", AppUUID: "a", Reason: "cpus: 1 -> 2"}, time.Unix(100, 0)
	if b.done(s, now) {
		t.Error("the first time counts as a repetition")
	}
	s.Container = &current.Container{ImageEngine: "sha256:b"}
	if b.done(s, now) {
		t.Error("a container of another image counts as a repetition")
	}
	for i, want := range []time.Duration{1, 2, 4} {
		s.Reason = fmt.Sprintf("cpus: %d -> 9", i) // the engine may say something else each time
		if !b.done(s, now) {
			t.Errorf("repetition %d was not noticed", i+1)
		}
		if got := b.until(s).Sub(now); got != want*time.Second {
			t.Errorf("repetition %d: waits %v, want %v", i+1, got, want*time.Second)
		}
	}
	b.settled("a")
	b.reached(now)
	if !b.done(s, now) {
		t.Error("a repetition is not noticed after the app was settled in between")
	}
	b.reached(now.Add(quiet + 9*time.Second))
	if b.done(s, now.Add(quiet+9*time.Second)) {
		t.Error("a repetition is noticed after a long quiet time")
	}
	b.forget("a")
	if b.done(s, now) {
		t.Error("a repetition is noticed although something else was wanted in between")
	}
}

// Settings that change once more are another wish, not a change that had no effect.
func TestAnotherChangeOfSettingsDoesNotWait(t *testing.T) {
	b := newBackoff(time.Minute)
	for i, want := range []bool{false, false, true} {
		s := plan.Step{Kind: plan.Set, Key: "configuration", Reason: "a: 1 -> 2", Changes: []settings.Change{{Name: "a"}}}
		if i == 0 {
			s.Reason = "a: 2 -> 1"
		}
		if b.done(s, time.Unix(100, 0)) != want {
			t.Errorf("change %d: want repeated %v", i+1, want)
		}
	}
}

// What is stopped again and again in order to be replaced is not kept down: only the stop waits.
func TestAStepThatUndoesAnotherDoesNotMakeItWait(t *testing.T) {
	b, now := newBackoff(time.Minute), time.Unix(100, 0)
	kill := plan.Step{Kind: plan.Kill, Key: "a/service web", AppUUID: "a", Reason: "cpus: 1 -> 2"}
	start := plan.Step{Kind: plan.Start, Key: "a/service web", AppUUID: "a", Reason: "no container"}
	for i, again := range []bool{false, true, true} {
		if b.done(kill, now) != again {
			t.Errorf("kill %d: want repeated %v", i+1, again)
		}
		if b.done(start, now) || b.until(start).After(now) {
			t.Errorf("start %d must wait", i+1)
		}
	}
	if !b.done(start, now) {
		t.Error("a second start without a kill is not noticed")
	}
}

func TestSettlingAnAppLeavesOthersWaiting(t *testing.T) {
	b := newBackoff(time.Minute)
	s := plan.Step{Kind: plan.Fetch, Key: "image x", AppUUID: "b"}
	b.failed(s, time.Unix(100, 0))
	b.settled("a")
	if b.until(s).IsZero() {
		t.Error("the step of another app does not wait any more")
	}
	b.retryNow()
	if !b.until(s).IsZero() {
		t.Error("the step waits although everything is to be tried now")
	}
}
