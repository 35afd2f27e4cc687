package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// volumeLoop is a loop on a device with two volumes of app 7 that nothing needs, and the steps that it began.
func volumeLoop(t *testing.T) (l *Loop, begun chan plan.Step) {
	t.Helper()
	cur := current.Empty()
	cur.Synced = true
	cur.Volumes = map[string]*current.Volume{}
	for _, name := range []string{"7_a", "7_b"} {
		cur.Volumes[name] = &current.Volume{Name: name, AppID: 7, Supervised: true}
	}
	l = newLoop(t, parts{state: cur, target: &target.State{}})
	begun = make(chan plan.Step, 8)
	l.o.Run = func(_ context.Context, s plan.Step, _ bool) error { begun <- s; return nil }
	return l, begun
}

func all(int) bool { return true }

// askVolumes asks for the removal of what nothing needs.
func (l *Loop) askVolumes(t *testing.T) []*request {
	t.Helper()
	requests, err := l.volumeRequests(all)
	if err != nil || len(requests) != 2 {
		t.Fatal(requests, err)
	}
	l.asked.requests = slices.Clone(requests)
	return requests
}

// The volumes of one app do not wait for one another, nor for another step of the app.
func TestVolumesThatNothingNeeds(t *testing.T) {
	l, begun := volumeLoop(t)
	l.running["x"] = &task{step: plan.Step{Kind: plan.CreateNetwork, Key: "x", AppID: 7}}
	requests := l.askVolumes(t)
	l.serve(t.Context())
	for range requests {
		if s := <-begun; s.Kind != plan.RemoveVolume || s.Key != plan.VolumeKey("7", s.Object) {
			t.Errorf("step %+v", s)
		}
	}
	busy := &engine.Error{Op: "remove volume", Status: 409}
	for i, err := range []error{nil, busy} {
		l.finish(result{step: l.running[plan.VolumeKey("7", requests[i].object)].step, err: err})
		if got := <-requests[i].done; got != err {
			t.Errorf("answer %v, want %v", got, err)
		}
	}
	if n := l.Counts().StepFailures; n != 0 || len(l.asked.requests) != 0 {
		t.Errorf("%d failures, %d requests are left", n, len(l.asked.requests))
	}
}

// A volume that is needed by the time it is its turn stays, and none goes when the device goes down.
func TestVolumeThatIsNeededByNow(t *testing.T) {
	l, begun := volumeLoop(t)
	requests := l.askVolumes(t)
	l.status.Apps = plan.Target{"u": {ID: 7, UUID: "u", Volumes: map[string]*compose.Volume{"7_a": nil}}}
	l.serve(t.Context())
	if s := <-begun; s.Object != "7_b" || s.Key != plan.VolumeKey("u", "7_b") || <-requests[0].done != nil {
		t.Errorf("step %+v", s)
	}
	l, _ = volumeLoop(t)
	requests = l.askVolumes(t)
	l.asked.powerOff = &powerOff{}
	l.serve(t.Context())
	for _, r := range requests {
		if err := <-r.done; !errors.Is(err, view.ErrLeaving) {
			t.Errorf("answer %v", err)
		}
	}
}
