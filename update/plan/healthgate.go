package plan

import (
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// minUptime is how long a container without a health check must have been running before it counts as
// good: a crash shows within it.
const minUptime = 10 * time.Second

// trial keeps a release on trial from becoming the current one until every service runs and, where
// it has a health check, is healthy. It is nil when the release has proved itself or need not.
func (a *app) healthGate() []Step {
	if _, on := a.opts.Trial[a.uuid]; !on {
		return nil
	}
	var wait []Step
	for _, name := range slices.Sorted(maps.Keys(a.want.Services)) {
		why, until := a.notReadyReason(a.want.Services[name])
		if why == "" {
			continue
		}
		s := a.step(Wait, "trial", "the release is on trial: service "+name+" "+why)
		s.Until = until
		if until.IsZero() {
			return []Step{s}
		}
		if wait == nil {
			wait = []Step{s}
		}
	}
	return wait
}

// late tells whether the time of a trial is up while something of the release is still open. While
// the release waits for a reboot it cannot prove anything, and the trial goes on after it. A container
// that has just been started gets its chance: when it does not crash it is good soon.
func (a *app) gateExpired(open []Step) bool {
	deadline := a.opts.Trial[a.uuid]
	if deadline.IsZero() || a.opts.Now.Before(deadline) || len(open) == 0 || open[0].Kind == SetCommit || !open[0].Until.IsZero() {
		return false
	}
	for name, s := range a.want.Services {
		if list := a.containers[name]; len(list) > 0 && a.awaitsReboot(s, list[0]) {
			return false
		}
	}
	return true
}

func (a *app) rollbackStep(open []Step) Step {
	why := open[0].Reason
	if service := open[0].ServiceName(); service != "" {
		why = "service " + service + ": " + why
	}
	s := a.step(RollBack, "trial", "the time of its trial is up: "+why)
	s.Commit, s.Source = a.want.Commit, a.want.Source
	return s
}

// unproven says what keeps a service from counting as good, and when that passes by itself.
func (a *app) notReadyReason(s *compose.Service) (why string, until time.Time) {
	if !s.Running || len(a.containers[s.Name]) == 0 {
		return "", time.Time{}
	}
	c := a.containers[s.Name][0]
	switch {
	case a.awaitsReboot(s, c):
		return "is started at the next boot", time.Time{}
	case finished(s, c):
		return "", time.Time{}
	case c.Status != "running":
		return "is " + c.Status, time.Time{}
	case c.Health == "healthy":
		return "", time.Time{}
	case c.Health != "":
		return "is " + c.Health, time.Time{}
	}
	if good := c.StartedAt.Add(minUptime); good.After(a.opts.Now) {
		return "has just been started", good
	}
	return "", time.Time{}
}

// finished tells whether a container ended well and is not meant to be started again.
func finished(s *compose.Service, c *current.Container) bool {
	policy := s.Container.Doc.HostConfig.RestartPolicy.Name
	return c.Status == "exited" && c.ExitCode == 0 && (policy == "no" || policy == "on-failure")
}
