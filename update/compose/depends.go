package compose

import (
	"errors"
	"strings"
)

// readDependencies reads depends_on: a list of names or a mapping with conditions. It adds the service whose network
// namespace is shared. It drops unknown services, which count as met.
func (r *resolver) readDependencies(sec *section, peer string) []Dependency {
	found := map[string]Dependency{}
	switch v := sec.take("depends_on").(type) {
	case nil:
	case map[string]any:
		for _, name := range sortedKeys(v) {
			found[name] = readDependency(sec, name, v[name])
		}
	case []any:
		for _, name := range sec.scalars("depends_on", v) {
			found[name] = Dependency{Service: name, Condition: Started}
		}
	default:
		if name, ok := scalar(v); ok {
			found[name] = Dependency{Service: name, Condition: Started}
		} else {
			sec.warnType("depends_on", "a list or mapping of services")
		}
	}
	if _, listed := found[peer]; peer != "" && !listed {
		found[peer] = Dependency{Service: peer, Condition: Started}
	}
	var out []Dependency
	for _, name := range sortedKeys(found) {
		if r.app.Release.Services[name] == nil {
			sec.warn("depends_on names " + name + ", which is not a service of this release, and counts as met")
			continue
		}
		out = append(out, found[name])
	}
	return out
}

func readDependency(sec *section, name string, options any) Dependency {
	d := Dependency{Service: name, Condition: Started}
	m, ok := options.(map[string]any)
	if options != nil && !ok {
		sec.warnType("depends_on."+name, "a mapping")
	}
	opt := newSection(sec.path+"depends_on.", m, sec.notes)
	switch c := Condition(opt.text("condition", string(Started))); c {
	case Started, Healthy, Completed:
		d.Condition = c
	default:
		sec.warn("depends_on " + name + " has the unknown condition " + string(c) + ", service_started is used")
	}
	d.Optional = !opt.flag("required", true)
	opt.take("restart") // the planner restarts only services that share a namespace
	opt.finish()
	return d
}

// checkCycles refuses services that wait for each other, since none of them could ever start. It visits each dependency
// once.
func checkCycles(services map[string]*Service) error {
	c := cycles{services: services, open: map[string]bool{}, seen: map[string]bool{}}
	for _, name := range sortedKeys(services) {
		c.enter(name)
		for len(c.path) > 0 {
			if err := c.step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cycles is a walk along dependencies. It is not recursive, because a chain may contain all services of a target.
type cycles struct {
	services   map[string]*Service
	open, seen map[string]bool // services on the path, and visited services
	path       []branch        // from the start of the walk to the current service
}

type branch struct {
	name string
	rest []Dependency // not followed yet
}

// enter moves on to a service, unless it was visited before.
func (c *cycles) enter(name string) {
	if s := c.services[name]; s != nil && !c.seen[name] {
		c.open[name], c.seen[name] = true, true
		c.path = append(c.path, branch{name, s.DependsOn})
	}
}

// step follows one dependency of the last service of the path, or goes back when none is left.
func (c *cycles) step() error {
	last := &c.path[len(c.path)-1]
	if len(last.rest) == 0 {
		c.open[last.name] = false
		c.path = c.path[:len(c.path)-1]
		return nil
	}
	name := last.rest[0].Service
	last.rest = last.rest[1:]
	if c.open[name] {
		return c.cycle(name)
	}
	c.enter(name)
	return nil
}

// cycle is the error that names the services of a cycle, the first ones and the last if there are many.
func (c *cycles) cycle(from string) error {
	var names []string
	for _, b := range c.path {
		if len(names) > 0 || b.name == from {
			names = append(names, b.name)
		}
	}
	if most := 10; len(names) > most {
		names = append(append(names[:most-1:most-1], "..."), names[len(names)-1])
	}
	return errors.New("depends_on cycle: " + strings.Join(append(names, from), " -> "))
}
