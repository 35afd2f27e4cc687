package reconcile

import (
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
)

// A release with a rollback timeout passes a health gate. The gate opens with the first change to a container and is
// passed when the release is the current one. When its time is over before, the loop brings back the release before
// from its images, which stay on the device until then. The failed release is not tried again until the target says
// something else of the app:
//
//	(no gate) --container step--> gate open --all services good--> committed
//	                                  \--time is over--> rolled back --other target--> (no gate)
//
// The time begins again after a restart of the agent, and after a download that a strategy puts between the old
// container and the new one. With delete-then-download the old image is gone by then, as that strategy asks for: the
// rollback is a download.

// gates are the apps whose health gate is open: until when, by app uuid and commit.
type gates map[string]gate

type gate struct {
	commit string
	until  time.Time
}

// of lists the apps whose release must pass a health gate, with the end of its time: zero when it is not open yet.
func (g gates) of(l *Loop, apps plan.Target) map[string]time.Time {
	gated := make(map[string]time.Time)
	for uuid, a := range apps {
		if l.rollbackTimeout(a) == 0 || a.Rejected != "" || l.asked.actions[uuid] != nil {
			continue
		}
		if h := l.o.Ledger.History(uuid); h.Commit == "" || h.Commit == a.Commit || h.App == nil {
			continue
		}
		gated[uuid] = time.Time{}
		if open := g[uuid]; open.commit == a.Commit {
			if l.fetching(uuid) {
				open.until = time.Now().Add(l.rollbackTimeout(a))
				g[uuid] = open
			}
			gated[uuid] = open.until
		}
	}
	for uuid := range g {
		if _, still := gated[uuid]; !still {
			delete(g, uuid)
		}
	}
	return gated
}

// begin opens the gates of apps whose first container step is planned, and returns when the time of the next one is
// over.
func (g gates) begin(l *Loop, gated map[string]time.Time, steps []plan.Step) (next time.Time) {
	for _, s := range steps {
		until, must := gated[s.AppUUID]
		if a := l.status.Apps[s.AppUUID]; must && until.IsZero() && (changesContainer(s) || l.begun(a)) {
			gated[s.AppUUID] = time.Now().Add(l.rollbackTimeout(a))
			g[s.AppUUID] = gate{commit: a.Commit, until: gated[s.AppUUID]}
			l.o.Log.Info().Str("app", a.Name).Str("release", a.Commit).Time("until", gated[s.AppUUID]).Msg("health gate is open")
		}
	}
	for _, until := range gated {
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
func (l *Loop) begun(a *compose.App) bool {
	for _, c := range l.o.Store.Load().Containers {
		if current.AppKey(c.AppUUID, c.AppID) == a.UUID && c.Commit == a.Commit {
			return true
		}
	}
	return false
}

// fetching tells whether an image of an app is being downloaded.
func (l *Loop) fetching(appUUID string) bool {
	for _, t := range l.running {
		for _, r := range t.step.Records {
			if t.step.Kind == plan.Fetch && r.AppUUID == appUUID {
				return true
			}
		}
	}
	return false
}

// rollbackTimeout is the time of the health gate of an app, 0 for no gate: the longest time that a service asks for, else
// what the configuration says.
func (l *Loop) rollbackTimeout(a *compose.App) time.Duration {
	longest := time.Duration(0)
	for _, s := range a.Services {
		longest = max(longest, s.RollbackTimeout)
	}
	if longest == 0 {
		return l.config.have.RollbackTimeout
	}
	return longest
}

// rolledBack notes that the release before applies again.
func (l *Loop) rolledBack(s plan.Step) {
	delete(l.gates, s.AppUUID)
	l.o.Resolver.Invalidate()
	l.backoff.Forget(s.AppUUID)
	l.o.Log.Error().Str("app", s.AppName).Str("release", s.Commit).Str("reason", s.Reason).
		Msg("release failed its health gate, rolling back to the release before")
}
