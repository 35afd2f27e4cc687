package target

import (
	"encoding/json"
	"strconv"
	"strings"
)

// reader reads the entry of a device in one of the shapes.
type reader struct {
	path     string // of the entry, for problem lines
	optional bool   // name, config and apps may be absent
	// app reads one app. known says that id and name are usable. The app can then be shown as rejected when it has
	// another fault.
	app func(m member, n node) (app *App, known bool)
}

// read returns the state and the problems of its apps. A fault of the entry itself is an InvalidError.
func (r reader) read(raw json.RawMessage) (*State, []Problem, error) {
	c := &check{}
	entry, err := members(raw)
	if err != nil {
		c.add(expectingLine("object", r.name(), showRaw(raw)))
		return nil, nil, c.invalid()
	}
	s := &State{Config: map[string]string{}, Apps: map[string]*App{}}
	if name := r.part(c, entry, "name"); !r.optional || !name.empty() {
		s.Name = name.deviceName()
	}
	if config := r.part(c, entry, "config"); !r.optional || !config.empty() {
		s.Config = config.texts(configKey())
	}
	apps := r.apps(c, entry)
	c.bound("apps", len(apps))
	if err := c.invalid(); err != nil {
		return nil, nil, err
	}
	problems := r.fill(s, apps)
	c.boundParts(s)
	if err := c.invalid(); err != nil {
		return nil, nil, err
	}
	return s, problems, nil
}

// maxParts limits the apps of a target, and the services, volumes and networks of all its apps. Real devices have some
// hundreds at most, and each part costs work at every change.
const maxParts = 2000

// boundParts refuses a target with more services, volumes or networks than the limit.
func (c *check) boundParts(s *State) {
	services, volumes, networks := 0, 0, 0
	for _, app := range s.Apps {
		if r := app.Release; r != nil {
			services, volumes, networks = services+len(r.Services), volumes+len(r.Volumes), networks+len(r.Networks)
		}
	}
	c.bound("services", services)
	c.bound("volumes", volumes)
	c.bound("networks", networks)
}

func (c *check) bound(parts string, n int) {
	if n > maxParts {
		c.add("Expecting at most " + strconv.Itoa(maxParts) + " " + parts + " but instead got: " + strconv.Itoa(n))
	}
}

// name is the path of the entry for people.
func (r reader) name() string {
	if r.path == "" {
		return "the target state"
	}
	return r.path
}

func (r reader) part(c *check, entry []member, key string) node {
	return treeOf(c, join(r.path, key), find(entry, key))
}

// apps splits the apps. null is refused, because as "no apps" it would remove all apps.
func (r reader) apps(c *check, entry []member) []member {
	for _, m := range entry {
		if m.key != "apps" {
			continue
		}
		apps, err := members(m.raw)
		if err != nil {
			c.add(expectingLine("object", join(r.path, "apps"), showRaw(m.raw)))
		}
		return apps
	}
	if !r.optional {
		c.add(expectingLine("object", join(r.path, "apps"), "undefined"))
	}
	return nil
}

// fill reads the apps one by one. A fault of one does not affect the others.
func (r reader) fill(s *State, apps []member) []Problem {
	var problems []Problem
	for _, m := range apps {
		app, lines := r.readApp(m)
		if app != nil && s.Apps[app.UUID] != nil {
			lines, app = append(lines, "App "+m.key+" has the uuid of another app"), nil
		}
		if app != nil {
			s.Apps[app.UUID] = app
		}
		for _, line := range lines {
			problems = append(problems, Problem{App: m.key, Text: line})
		}
	}
	return problems
}

// readApp returns a complete app, or one with Rejected set, or none, with its problems.
func (r reader) readApp(m member) (*App, []string) {
	c := &check{}
	n := treeOf(c, join(join(r.path, "apps"), m.key), m.raw)
	if c.count() > 0 || !n.isObject() {
		return nil, c.all()
	}
	if isDeeperThan(n.value, maxDepth) {
		c.add("Too many levels at " + n.path)
		return nil, c.all()
	}
	app, known := r.app(m, n)
	if c.count() == 0 {
		removeForeignServices(app)
		return app, nil
	}
	if !known {
		return nil, c.all()
	}
	app.Rejected = strings.Join(c.all(), "; ")
	app.Release = app.Release.withoutParts()
	return app, c.all()
}

// withoutParts is a release without services, volumes and networks, to report it as rejected.
func (r *Release) withoutParts() *Release {
	if r == nil {
		return nil
	}
	return newRelease(r.Commit, r.ID)
}

func newRelease(commit string, id int) *Release {
	return &Release{
		Commit: commit, ID: id,
		Services: map[string]*Service{}, Volumes: map[string]Map{}, Networks: map[string]Map{},
	}
}
