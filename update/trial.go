package update

import (
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// A release with a rollback timeout is on trial from the first change to a container until it is
// the current one. When its time is up before, the release before it is brought back from its
// images, which stay on the device until then, and the failed one is not tried again until the
// target names the app in another way:
//
//	(no trial) --container step--> on trial --all services good--> committed
//	                                  \--time is up--> rolled back --other target--> (no trial)
//
// After a restart of the agent, and after a download that a strategy put between the old container
// and the new one, the time begins anew. With delete-then-download the old image is gone by then, as
// that strategy asks for: the way back is a download.

// trials are the apps on trial: until when, by app uuid and commit.
type trials map[string]trialOf

type trialOf struct {
	commit string
	until  time.Time
}

// of lists the apps whose release must prove itself, with the end of their time.
func (t trials) of(l *loop, apps plan.Target) map[string]time.Time {
	on := make(map[string]time.Time)
	for uuid, a := range apps {
		if l.trialTime(a) == 0 || a.Rejected != "" || l.actions[uuid] != nil {
			continue
		}
		if h := l.exec.book.of(uuid); h.Commit == "" || h.Commit == a.Commit || h.App == nil {
			continue
		}
		on[uuid] = time.Time{}
		if begun := t[uuid]; begun.commit == a.Commit {
			if l.fetching(uuid) {
				begun.until = time.Now().Add(l.trialTime(a))
				t[uuid] = begun
			}
			on[uuid] = begun.until
		}
	}
	for uuid := range t {
		if _, still := on[uuid]; !still {
			delete(t, uuid)
		}
	}
	return on
}

// begin starts the time of trials whose first container step is planned, and returns when the next
// one is up.
func (t trials) begin(l *loop, on map[string]time.Time, steps []plan.Step) (next time.Time) {
	for _, s := range steps {
		until, trying := on[s.AppUUID]
		if a := l.status.apps[s.AppUUID]; trying && until.IsZero() && (changesContainer(s) || l.begun(a)) {
			on[s.AppUUID] = time.Now().Add(l.trialTime(a))
			t[s.AppUUID] = trialOf{commit: a.Commit, until: on[s.AppUUID]}
			l.log.Info().Str("app", a.Name).Str("release", a.Commit).Time("until", on[s.AppUUID]).Msg("release is on trial")
		}
	}
	for _, until := range on {
		next = sooner(next, until)
	}
	return next
}

func changesContainer(s plan.Step) bool {
	switch s.Kind {
	case plan.Kill, plan.HandOver, plan.Rename:
		return true
	case plan.Start:
		return s.Service != nil // else the container of the release before
	}
	return false
}

// begun tells whether a container of the release is there already.
func (l *loop) begun(a *compose.App) bool {
	for _, c := range l.cell.load().Containers {
		if current.AppKey(c.AppUUID, c.AppID) == a.UUID && c.Commit == a.Commit {
			return true
		}
	}
	return false
}

// fetching tells whether an image of an app is being downloaded.
func (l *loop) fetching(appUUID string) bool {
	for _, t := range l.running {
		for _, r := range t.step.Records {
			if t.step.Kind == plan.Fetch && r.AppUUID == appUUID {
				return true
			}
		}
	}
	return false
}

// trialTime is how long the release of an app may take to prove itself, 0 for no trial: the longest
// time that a service asks for, else what the configuration says.
func (l *loop) trialTime(a *compose.App) time.Duration {
	longest := time.Duration(0)
	for _, s := range a.Services {
		longest = max(longest, s.RollbackTimeout)
	}
	if longest == 0 {
		return l.config.have.RollbackTimeout
	}
	return longest
}

// instead is the app to be applied for an app of the target: the release before, when the target's
// own failed its trial, and why.
func (r *resolver) instead(a *target.App) (app *target.App, why string) {
	h := r.book.of(a.UUID)
	failed := h.Failed
	if failed == nil {
		return a, ""
	}
	if digest, err := digestOf(a); err != nil || digest != failed.Digest {
		return a, ""
	}
	before := h.before(a.UUID)
	if before == nil {
		return a, ""
	}
	return before, "release " + failed.Commit + " failed: " + failed.Reason
}

// rolledBack notes that the release before applies again.
func (l *loop) rolledBack(s plan.Step) {
	delete(l.trials, s.AppUUID)
	l.resolve.stale = true
	l.backoff.forget(s.AppUUID)
	l.log.Error().Str("app", s.AppName).Str("release", s.Commit).Str("reason", s.Reason).
		Msg("release failed its trial, the one before is brought back")
}
