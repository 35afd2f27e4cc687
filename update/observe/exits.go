package observe

import (
	"maps"
	"sync"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/userlog"
)

// exitReporter says when services exit and come back, from the events of the engine (docs/spec/cloud.md 5.6).
type exitReporter struct {
	say userlog.Voice

	mu   sync.Mutex
	seen map[string]lastEvent // by container
}

// lastEvent is the newest event of a container. A new stream may repeat earlier events. Events of different containers
// may have the same time, or come in another order.
type lastEvent struct {
	action string
	at     int64
	died   bool // the container exited and did not start since
}

// setBack is how far the clock must have been set back for an earlier event to be no repetition.
const setBack = time.Minute

func newExitReporter(say userlog.Voice) *exitReporter {
	return &exitReporter{say: say, seen: make(map[string]lastEvent)}
}

// event takes an event of a supervised container. It tells whether the event is a new start.
func (r *exitReporter) event(e doc.Event) (started bool) {
	if e.Action != "die" && e.Action != "start" && e.Action != "destroy" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.seen[e.Actor.ID]
	if early := last.at - e.TimeNano; early >= 0 && early < int64(setBack) {
		return false // a repetition
	}
	of := e.Actor.Attributes
	object := userlog.Service(compose.NormaliseLabels(of)["io.balena.service-name"], of["image"])
	switch e.Action {
	case "die":
		r.say.Event(userlog.Exited, object, nil)
	case "start":
		if last.died {
			r.say.Event(userlog.Restarting, object, nil)
		}
	}
	// No more events come of a container that was removed a while ago.
	maps.DeleteFunc(r.seen, func(_ string, l lastEvent) bool { return l.action == "destroy" && e.TimeNano-l.at >= int64(setBack) })
	r.seen[e.Actor.ID] = lastEvent{e.Action, e.TimeNano, e.Action == "die"}
	return e.Action == "start"
}
