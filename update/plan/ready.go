package plan

import (
	"maps"
	"slices"
	"strconv"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// waitReason says what a service waits for before it may start, empty when it may start now
// (docs/spec/engine.md 5.4, D23).
func (pl *appPlanner) waitReason(s *compose.Service) string {
	if pl.blocked != "" {
		return "waits: " + pl.blocked
	}
	for _, d := range s.DependsOn {
		if why := pl.unmet(d); why != "" && !d.Optional {
			return "waits for " + d.Service + ": " + why
		}
	}
	if s.PeerOf != "" && (pl.peer(s.PeerOf) == "" || pl.changing(s.PeerOf)) {
		return "waits for " + s.PeerOf + ", whose network it shares"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Container.Networks)) {
		if !pl.networkReady(name) {
			return "waits for network " + name + ": it is " + pl.replacedOrMissing(name)
		}
	}
	for _, name := range s.Container.NamedVolumes() {
		if pl.pending[name] {
			return "waits for volume " + name + ": it is " + pl.replacedOrMissing(name)
		}
	}
	return ""
}

// replacedOrMissing says why a pending network or volume is not ready.
func (pl *appPlanner) replacedOrMissing(name string) string {
	if pl.toRemove[name] != "" {
		return "replaced first"
	}
	return "missing"
}

// changing reports whether the container of a service still has to change.
func (pl *appPlanner) changing(service string) bool {
	p := pl.pairs[service]
	return p != nil && p.outdated()
}

// unmet says why a dependency is not met yet. A service that is not in the target counts as met. One that exited or
// keeps crashing counts as started.
func (pl *appPlanner) unmet(d compose.Dependency) string {
	p := pl.pairs[d.Service]
	if p == nil || p.want == nil {
		return ""
	}
	if p.outdated() {
		return "it is not updated yet"
	}
	if !p.want.Running {
		return ""
	}
	c := p.have
	switch {
	case c.Status == "created":
		return "it is not started yet"
	case d.Condition == compose.Healthy && !healthy(c), d.Condition == compose.Completed && (c.Status != "exited" || c.ExitCode != 0):
		return dependencyState(c, d.Condition)
	}
	return ""
}

// dependencyState describes a dependency that does not meet its condition.
func dependencyState(c *current.Container, wanted compose.Condition) string {
	switch {
	case c.Status == "exited":
		return "it exited with " + strconv.Itoa(c.ExitCode)
	case c.Status != "running":
		return "it is " + c.Status
	case wanted == compose.Completed:
		return "it still runs"
	}
	return "it is " + c.Health
}

// healthy reports whether a container is healthy, which without a health check means that it runs.
func healthy(c *current.Container) bool {
	return c.Health == "healthy" || c.Health == "" && c.Running
}

func (pl *appPlanner) networkReady(name string) bool {
	if pl.pending[name] {
		return false
	}
	if pl.want.Networks[name] != nil {
		return true
	}
	if pl.index.networks == nil {
		pl.index.networks = make(map[string]bool, len(pl.cur.Networks))
		for _, n := range pl.cur.Networks {
			pl.index.networks[n.Name] = true
		}
	}
	return pl.index.networks[name]
}
