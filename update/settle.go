package update

import (
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// settle notes which apps are done, tells waiting actions, and ends the apply when all are.
func (l *loop) settle(steps []plan.Step) {
	open := make(map[string]bool)
	for _, s := range steps {
		if l.aside(s, false) {
			continue
		}
		open[s.AppUUID] = true
		for _, r := range s.Records {
			open[r.AppUUID] = true
		}
	}
	for _, t := range l.running {
		// A download of the release to come does not hold up a restart or a purge of what is there.
		background := t.step.Kind == plan.Fetch && l.actions[t.step.AppUUID] != nil
		if t.step.Kind != plan.SwitchVPN && !background && !l.aside(t.step, t.request != nil) {
			open[t.step.AppUUID] = true
		}
	}
	moved := false // an action went on: what is open now is for the next pass to say
	for _, uuid := range slices.Sorted(maps.Keys(l.actions)) {
		if !open[uuid] {
			l.advance(uuid, l.actions[uuid])
			moved = true
		}
	}
	for uuid, a := range l.status.apps {
		if !open[uuid] {
			l.backoff.settled(uuid)
			l.note(a)
		}
	}
	busy := moved || len(open) > 0 || len(l.actions) > 0
	l.force = l.force && busy
	if busy || l.config.unstored {
		l.apply()
		l.status.pending = l.status.pending || len(l.actions) == 0
		return
	}
	if l.status.applying {
		l.config.vpn.again = time.Time{}
		if len(l.refusals()) == 0 {
			l.log.Info().Msg("target reached")
		} else {
			l.log.Warn().Msg("target reached, except for what of it was refused")
		}
		l.counts.applied(time.Since(l.status.since))
	}
	l.backoff.reached(time.Now())
	l.status.applying, l.status.pending, l.status.failed, l.status.downloaded = false, false, l.config.boot.err != nil, false
	l.status.problems = slices.DeleteFunc(slices.Clone(l.status.problems), func(p view.Problem) bool {
		refused := l.config.boot.err != nil && p.Step == string(plan.SetBoot)
		return !refused && (!p.Repeated || time.Since(p.At) > quiet)
	})
}

// apply notes that an apply is under way.
func (l *loop) apply() {
	if !l.status.applying {
		l.status.applying, l.status.since = true, time.Now()
	}
}

// beginAttempt notes that steps are under way. An attempt ends with the first pass after which none is: what
// is left waits for its time, for a user's lock or for a service (docs/spec/cloud.md 9.2).
func (l *loop) beginAttempt() {
	if l.status.attempt.IsZero() {
		l.status.attempt, l.status.fetched = time.Now(), 0
	}
}

// note keeps what the target says of a settled app up to date in the book, for the way back: it may
// change without a new release.
func (l *loop) note(a *compose.App) {
	if a.Source == nil || a.Commit == "" || a.Rejected != "" || l.noted[a.UUID] == a.Source || l.cell.load().Commits[a.UUID] != a.Commit {
		return
	}
	l.noted[a.UUID] = a.Source
	if err := l.exec.book.commit(a.UUID, a.Commit, a.Source); err != nil {
		l.log.Error().Err(err).Str("app", a.Name).Msg("release was not noted")
	}
}
