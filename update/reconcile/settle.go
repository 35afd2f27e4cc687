package reconcile

import (
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/reconcile/backoff"
	"resin-supervisor/update/view"
)

// settle notes which apps are done, tells waiting actions, and ends the apply when all are.
func (l *Loop) settle(steps []plan.Step) {
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
		background := t.step.Kind == plan.Fetch && l.asked.actions[t.step.AppUUID] != nil
		if t.step.Kind != plan.SwitchVPN && !background && !l.aside(t.step, t.request != nil) {
			open[t.step.AppUUID] = true
		}
	}
	moved := false // an action went on: what is open now is for the next pass to say
	for _, uuid := range slices.Sorted(maps.Keys(l.asked.actions)) {
		if !open[uuid] {
			l.advance(uuid, l.asked.actions[uuid])
			moved = true
		}
	}
	for uuid, a := range l.status.Apps {
		if !open[uuid] {
			l.backoff.Settled(uuid)
			l.record(a)
		}
	}
	busy := moved || len(open) > 0 || len(l.asked.actions) > 0
	l.asked.force = l.asked.force && busy
	if busy || l.config.unstored {
		l.apply()
		l.status.Pending = l.status.Pending || len(l.asked.actions) == 0
		return
	}
	if l.status.Applying {
		l.config.vpn.again = time.Time{}
		if len(l.refusals()) == 0 {
			l.o.Log.Info().Msg("target reached")
		} else {
			l.o.Log.Warn().Msg("target reached, except for what of it was refused")
		}
		l.counts.applied(time.Since(l.progress.since))
	}
	l.backoff.Reached(time.Now())
	l.status.Applying, l.status.Pending, l.status.Failed, l.status.Downloaded = false, false, l.config.boot.err != nil, false
	l.status.Problems = slices.DeleteFunc(slices.Clone(l.status.Problems), func(p view.Problem) bool {
		refused := l.config.boot.err != nil && p.Step == string(plan.SetBoot)
		return !refused && (!p.Repeated || time.Since(p.At) > backoff.Quiet)
	})
}

// apply notes that an apply is under way.
func (l *Loop) apply() {
	if !l.status.Applying {
		l.status.Applying, l.progress.since = true, time.Now()
	}
}

// beginAttempt notes that steps are under way. An attempt ends with the first pass after which none is: what
// is left waits for its time, for a user's lock or for a service (docs/spec/cloud.md 9.2).
func (l *Loop) beginAttempt() {
	if l.progress.attempt.IsZero() {
		l.progress.attempt, l.progress.fetched = time.Now(), 0
	}
}

// record keeps what the target says of a settled app up to date in the ledger, for a rollback: it may change without a
// new release.
func (l *Loop) record(a *compose.App) {
	if a.Source == nil || a.Commit == "" || a.Rejected != "" || l.memory.recorded[a.UUID] == a.Source || l.o.Store.Load().Commits[a.UUID] != a.Commit {
		return
	}
	l.memory.recorded[a.UUID] = a.Source
	if err := l.o.Ledger.SetCommit(a.UUID, a.Commit, a.Source); err != nil {
		l.o.Log.Error().Err(err).Str("app", a.Name).Msg("release was not recorded")
	}
}
