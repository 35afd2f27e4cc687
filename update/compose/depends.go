package compose

import (
	"errors"
	"strings"
)

// readDependencies reads depends_on, as a list of names or as a mapping with conditions, and adds
// the service whose network namespace is shared. Unknown services count as met and are dropped.
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
			sec.odd("depends_on", "a list or mapping of services")
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
		sec.odd("depends_on."+name, "a mapping")
	}
	opt := newSection(sec.path+"depends_on.", m, sec.notes)
	switch c := Condition(opt.text("condition", string(Started))); c {
	case Started, Healthy, Completed:
		d.Condition = c
	default:
		sec.warn("depends_on " + name + " has the unknown condition " + string(c) + ", service_started is used")
	}
	d.Optional = !opt.flag("required", true)
	opt.take("restart") // the planner restarts those that share a namespace, nobody else
	opt.finish()
	return d
}

// checkCycles refuses services that wait for each other, since none of them could ever start.
func checkCycles(services map[string]*Service) error {
	done := map[string]bool{}
	var path []string
	var visit func(name string) error
	visit = func(name string) error {
		for i, above := range path {
			if above == name {
				return errors.New("depends_on cycle: " + strings.Join(append(path[i:], name), " -> "))
			}
		}
		if done[name] || services[name] == nil {
			return nil
		}
		path = append(path, name)
		for _, d := range services[name].DependsOn {
			if err := visit(d.Service); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		return nil
	}
	for _, name := range sortedKeys(services) {
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}
