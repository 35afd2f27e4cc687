package update

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// maxProblems is how many problems are remembered.
const maxProblems = 16

// fault tells of a target that cannot be reached, once for as long as it stays so.
func (l *loop) fault(s plan.Step) {
	if !s.Fault {
		return
	}
	l.status.failed = true
	for _, p := range l.status.problems {
		if p.Subject == s.Subject() && p.Error == s.Reason {
			return
		}
	}
	l.logStep(l.log.Error(), s).Msg("target cannot be reached")
	l.exec.say.tell(notBegun, s.AppName, errors.New(s.Reason))
	l.problem(s, s.Reason)
}

// logWaits logs what services and apps wait for while nothing else is under way, once for as long as it
// stays so.
func (l *loop) logWaits() {
	told := make(map[string]string)
	for _, s := range l.status.waits {
		slot := current.Slot(s.AppUUID, s.ServiceName())
		if told[slot] = s.Reason; l.loggedWaits[slot] != s.Reason && !s.Fault {
			l.logStep(l.log.Info(), s).Msg("waiting")
		}
	}
	l.loggedWaits = told
}

// problem remembers what went wrong, newest first, one entry for each subject.
func (l *loop) problem(s plan.Step, text string) {
	p := view.Problem{
		At: time.Now(), Subject: s.Subject(), Step: string(s.Kind), Reason: s.Reason, Error: text, Retry: l.backoff.until(s),
	}
	kept := []view.Problem{p}
	for _, old := range l.status.problems {
		if (old.Subject != p.Subject || old.Step != p.Step) && len(kept) < maxProblems {
			kept = append(kept, old)
		}
	}
	l.status.problems = kept
}

func (l *loop) logStep(e *zerolog.Event, s plan.Step) *zerolog.Event {
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

// The documents that may be unusable, as users know them.
const (
	cloudTarget  = "target state of the cloud"
	storedTarget = "stored target state"
	preloadFile  = "apps.json"
)

// refuse notes that nothing of a document can be used, until the document or what takes its place can.
func (t *targets) refuse(document, text string) {
	t.usable(document)
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	t.unusable = append(t.unusable, view.Problem{At: time.Now(), Subject: document, Step: "refused", Error: text})
}

// usable ends refuse.
func (t *targets) usable(documents ...string) {
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	t.unusable = slices.DeleteFunc(t.unusable, func(p view.Problem) bool { return slices.Contains(documents, p.Subject) })
}

// refusals are the problems that last as long as the target: what of it is not applied at all.
func (l *loop) refusals() []view.Problem {
	l.targets.unusableMu.Lock()
	list := slices.Clone(l.targets.unusable)
	l.targets.unusableMu.Unlock()
	list = append(list, l.config.boot.refused...)
	for _, uuid := range slices.Sorted(maps.Keys(l.status.apps)) {
		if a := l.status.apps[uuid]; a.Rejected != "" {
			list = append(list, view.Problem{At: l.resolve.since[uuid], Subject: "app " + firstText(a.Name, uuid), Step: "rejected", Error: a.Rejected})
		}
	}
	return list
}
