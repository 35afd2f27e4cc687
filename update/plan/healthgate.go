package plan

import (
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// minUptime is how long a container without a health check must run before it counts as healthy. A crash usually
// happens within it.
const minUptime = 10 * time.Second

// healthGate returns a wait while a service of the release does not run or is not healthy. It is nil when the release
// has passed, or has no health gate.
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
		s := a.step(Wait, "trial", "the health gate is open: service "+name+" "+why)
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

// gateExpired reports whether the deadline of the health gate has passed while the release has steps left. The
// deadline does not count while the release waits for a reboot, nor while a container reaches its minimum uptime.
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
	s := a.step(RollBack, "trial", "the release was not healthy in time: "+why)
	s.Commit, s.Source = a.want.Commit, a.want.Source
	return s
}

// notReadyReason says why a service does not pass the health gate yet, and when that may change without an event.
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
	if ready := c.StartedAt.Add(minUptime); ready.After(a.opts.Now) {
		return "has just been started", ready
	}
	return "", time.Time{}
}

// finished reports whether a container exited with code 0 and its restart policy does not start it again.
func finished(s *compose.Service, c *current.Container) bool {
	policy := s.Container.Doc.HostConfig.RestartPolicy.Name
	return c.Status == "exited" && c.ExitCode == 0 && (policy == "no" || policy == "on-failure")
}
