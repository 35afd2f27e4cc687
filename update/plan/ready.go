package plan

import (
	"maps"
	"slices"

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
			return why
		}
	}
	if s.PeerOf != "" && (w.peer(s.PeerOf) == "" || w.changing(s.PeerOf)) {
		return "waits for service " + s.PeerOf + ", whose network it shares"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Container.Networks)) {
		if !w.networkReady(name) {
			return "waits for network " + name
		}
	}
	for _, name := range s.Container.NamedVolumes() {
		if w.pending[name] {
			return "waits for volume " + name
		}
	}
	return ""
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
		return "waits for service " + d.Service
	}
	if !p.want.Running {
		return ""
	}
	c := p.have
	switch {
	case c.Status == "created":
		return "waits for service " + d.Service + " to start"
	case d.Condition == compose.Healthy && !healthy(c):
		return "waits for service " + d.Service + " to be healthy"
	case d.Condition == compose.Completed && (c.Status != "exited" || c.ExitCode != 0):
		return "waits for service " + d.Service + " to complete successfully"
	}
	return ""
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
	for _, n := range w.cur.Networks {
		if n.Name == name {
			return true
		}
	}
	return false
}
