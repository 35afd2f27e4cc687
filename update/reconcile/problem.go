package reconcile

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/userlog"
	"resin-supervisor/update/view"
)

// maxProblems is how many problems are remembered.
const maxProblems = 16

// fault says that a target cannot be reached. It says the same reason once.
func (l *Loop) fault(s plan.Step) {
	if !s.Fault {
		return
	}
	l.status.Failed = true
	for _, p := range l.status.Problems {
		if p.Subject == s.Subject() && p.Error == s.Reason {
			return
		}
	}
	l.logStep(l.o.Log.Error(), s).Msg("target cannot be reached")
	l.o.Users.Voice.Event(userlog.NotBegun, s.AppName, errors.New(s.Reason))
	l.problem(s, s.Reason)
}

// logWaits logs what services and apps wait for while no step is under way. It logs the same reason once.
func (l *Loop) logWaits() {
	told := make(map[string]string)
	for _, s := range l.waits {
		slot := current.Slot(s.AppUUID, s.ServiceName())
		if told[slot] = s.Reason; l.memory.loggedWaits[slot] != s.Reason && !s.Fault {
			l.logStep(l.o.Log.Info(), s).Msg("waiting")
		}
	}
	l.memory.loggedWaits = told
}

// problem remembers what went wrong, newest first, one entry for each subject.
func (l *Loop) problem(s plan.Step, text string) {
	p := view.Problem{
		At: time.Now(), Subject: s.Subject(), Step: string(s.Kind), Reason: s.Reason, Error: text, Retry: l.backoff.Until(s),
	}
	kept := []view.Problem{p}
	for _, old := range l.status.Problems {
		if (old.Subject != p.Subject || old.Step != p.Step) && len(kept) < maxProblems {
			kept = append(kept, old)
		}
	}
	l.status.Problems = kept
}

func (l *Loop) logStep(e *zerolog.Event, s plan.Step) *zerolog.Event {
	e = e.Str("step", string(s.Kind))
	for _, field := range [...][2]string{
		{"app", s.AppName}, {"service", s.ServiceName()}, {"image", s.Image}, {"object", s.Object}, {"reason", s.Reason},
	} {
		if field[1] != "" {
			e = e.Str(field[0], field[1])
		}
	}
	return e
}

// refusals are the problems that last as long as the target: what of it is not applied at all.
func (l *Loop) refusals() []view.Problem {
	list := append(l.o.Targets.Unusable(), l.config.boot.refused...)
	for _, uuid := range slices.Sorted(maps.Keys(l.status.Apps)) {
		if a := l.status.Apps[uuid]; a.Rejected != "" {
			list = append(list, view.Problem{At: l.o.Resolver.RejectedSince(uuid), Subject: "app " + cmp.Or(a.Name, uuid), Step: "rejected", Error: a.Rejected})
		}
	}
	return list
}
