package update

import (
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
