package update

import (
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

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
	l.problem(s, s.Reason)
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

// unusable is a document of which nothing could be used, and since when and why.
type unusable struct {
	at   time.Time
	text string
}

// The documents that may be unusable, as users know them.
const (
	cloudTarget  = "target state of the cloud"
	storedTarget = "stored target state"
	preloadFile  = "apps.json"
)

// refuse notes that nothing of a document can be used, until the document or what takes its place can.
func (t *targets) refuse(document, text string) {
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	if t.unusable[document].text != text {
		t.unusable[document] = unusable{time.Now(), text}
	}
}

// usable ends refuse.
func (t *targets) usable(documents ...string) {
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	for _, d := range documents {
		delete(t.unusable, d)
	}
}

// refusals are the problems that last as long as the target: what of it is not applied at all.
func (l *loop) refusals() (list []view.Problem) {
	t := l.targets
	t.unusableMu.Lock()
	for _, document := range [...]string{cloudTarget, storedTarget, preloadFile} {
		if u := t.unusable[document]; u.text != "" {
			list = append(list, view.Problem{At: u.at, Subject: document, Step: "refused", Error: u.text})
		}
	}
	t.unusableMu.Unlock()
	for _, uuid := range slices.Sorted(maps.Keys(l.resolve.told)) {
		if v := l.resolve.told[uuid]; v.rejected != "" {
			list = append(list, view.Problem{At: v.at, Subject: "app " + firstText(v.name, uuid), Step: "rejected", Error: v.rejected})
		}
	}
	return list
}
