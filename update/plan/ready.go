package plan

import (
	"maps"
	"slices"
	"strconv"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// notReady says what a service still waits for before it may start, empty when nothing
// (docs/spec/engine.md 5.4, D23).
func (w *work) notReady(s *compose.Service) string {
	if w.hold != "" {
		return "waits: " + w.hold
	}
	for _, d := range s.DependsOn {
		if why := w.unmet(d); why != "" && !d.Optional {
			return "waits for " + d.Service + ": " + why
		}
	}
	if s.PeerOf != "" && (w.peer(s.PeerOf) == "" || w.changing(s.PeerOf)) {
		return "waits for " + s.PeerOf + ", whose network it shares"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Container.Networks)) {
		if !w.networkReady(name) {
			return "waits for network " + name + ": it is " + w.replacedOrMissing(name)
		}
	}
	for _, name := range s.Container.NamedVolumes() {
		if w.pending[name] {
			return "waits for volume " + name + ": it is " + w.replacedOrMissing(name)
		}
	}
	return ""
}

// replacedOrMissing says how a network or volume is that is not as wanted.
func (w *work) replacedOrMissing(name string) string {
	if w.broken[name] != "" {
		return "replaced first"
	}
	return "missing"
}

// changing says that a service still has container work towards its target.
func (w *work) changing(service string) bool {
	p := w.pairing[service]
	return p != nil && p.due()
}

// unmet says why a dependency does not hold yet. A service that is not in the target counts as met,
// and one that exited or keeps crashing counts as started.
func (w *work) unmet(d compose.Dependency) string {
	p := w.pairing[d.Service]
	if p == nil || p.want == nil {
		return ""
	}
	if p.due() {
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

// dependencyState says how a dependency is that is not as it has to be.
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

// healthy takes a container without a health check as healthy while it runs.
func healthy(c *current.Container) bool {
	return c.Health == "healthy" || c.Health == "" && c.Running
}

func (w *work) networkReady(name string) bool {
	if w.pending[name] {
		return false
	}
	if w.want.Networks[name] != nil {
		return true
	}
	if w.index.networks == nil {
		w.index.networks = make(map[string]bool, len(w.cur.Networks))
		for _, n := range w.cur.Networks {
			w.index.networks[n.Name] = true
		}
	}
	return w.index.networks[name]
}
