// Package build makes the view that readers get. It is pure: one function of what the loop and the engine say.
package build

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// Status is what the loop says beside the current state. It must not be changed once it is handed out.
type Status struct {
	Applying    bool
	Waiting     bool // an apply is under way, and no step of it
	Pending     bool
	Failed      bool
	Downloaded  bool
	LocalMode   bool
	Problems    []view.Problem // newest first
	NextAttempt time.Time
	Target      *target.State           // nil when none was ever set
	Apps        map[string]*compose.App // the resolved target, by uuid
	RolledBack  map[string]string       // app uuid -> which release failed, and why
	LocksHeld   map[string]bool         // by app uuid
	Reasons     map[string]string       // service key -> reason of the last step
	Waits       []plan.Step             // of kind Wait: what services, and apps, wait for
}

// View is what readers see of a status and a current state.
func View(s *Status, cur *current.State) *view.State {
	b := builder{status: s, cur: cur, apps: make(map[string]*view.App), waitsFor: make(map[string]string, len(s.Waits))}
	for i := len(s.Waits) - 1; i >= 0; i-- { // the first of each counts
		w := &s.Waits[i]
		b.waitsFor[current.Slot(w.AppUUID, w.ServiceName())] = w.Reason
	}
	v := &view.State{
		Synced: cur.Listed, Applying: s.Applying, Waiting: s.Waiting, Pending: s.Pending, Failed: s.Failed,
		Downloaded: s.Downloaded, LocalMode: s.LocalMode, LastErrors: s.Problems, NextAttempt: s.NextAttempt,
	}
	if s.Target != nil {
		v.HasTarget, v.DeviceName = true, s.Target.DeviceName()
		for _, a := range s.Target.Apps {
			b.target(a)
		}
	}
	for _, c := range cur.Containers {
		b.container(c)
	}
	for _, p := range cur.Pulls {
		b.pull(p)
	}
	for _, r := range cur.Records {
		b.record(r)
	}
	for _, a := range b.apps {
		b.order(a)
		v.Apps = append(v.Apps, *a)
	}
	sort.Slice(v.Apps, func(i, j int) bool {
		x, y := &v.Apps[i], &v.Apps[j]
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.UUID, y.UUID)) < 0
	})
	return v
}

type builder struct {
	status *Status
	cur    *current.State
	apps   map[string]*view.App
	// waitsFor is what services wait for, by service key; without a service the app.
	waitsFor map[string]string
}

func (b *builder) locked(uuid string) bool {
	return b.status.LocksHeld[uuid]
}

func (b *builder) target(a *target.App) {
	app := &view.App{
		ID: a.ID, UUID: a.UUID, Name: a.Name, Class: a.Class, IsHost: a.IsHost, InTarget: true, Rejected: a.Rejected,
		Commit: b.cur.Commits[a.UUID], LockHeld: b.locked(a.UUID), RolledBack: b.status.RolledBack[a.UUID],
		Waits: b.waits(a.UUID, ""),
	}
	if resolved := b.status.Apps[a.UUID]; resolved != nil {
		app.Rejected = resolved.Rejected
	}
	if a.Release != nil {
		app.TargetCommit, app.ReleaseID = a.Release.Commit, a.Release.ID
		for _, name := range slices.Sorted(maps.Keys(a.Release.Services)) {
			s := a.Release.Services[name]
			app.Services = append(app.Services, buildService(s))
			app.Services[len(app.Services)-1].Waits = b.waits(a.UUID, name)
		}
		if s := a.Release.Agent; s != nil {
			agent := buildService(s)
			app.Agent = &agent
		}
	}
	b.apps[a.UUID] = app
}

// waits is what a service waits for, or with no service the app.
func (b *builder) waits(uuid, service string) string {
	return b.waitsFor[current.Slot(uuid, service)]
}

func buildService(s *target.Service) view.Service {
	return view.Service{Name: s.Name, ID: s.ID, ImageID: s.ImageID, Image: s.Image, Running: s.Running}
}

// of is the app an object belongs to: by uuid, else by id, else one that is not in the target.
func (b *builder) of(uuid string, id int) *view.App {
	if a := b.apps[uuid]; a != nil {
		return a
	}
	for _, a := range b.apps {
		if a.ID == id {
			return a
		}
	}
	key := current.AppKey(uuid, id)
	if b.apps[key] == nil {
		b.apps[key] = &view.App{ID: id, UUID: key, Commit: b.cur.Commits[key], LockHeld: b.locked(key)}
	}
	return b.apps[key]
}

func (b *builder) container(c *current.Container) {
	a := b.of(c.AppUUID, c.AppID)
	if a.ID == target.UnknownID {
		a.ID = c.AppID
	}
	a.Containers = append(a.Containers, view.Container{
		ID: c.ID, Name: c.Name, ServiceName: c.ServiceName, ServiceID: c.ServiceID, AppID: c.AppID,
		ImageID: c.ImageID, ReleaseID: c.ReleaseID, Commit: c.Commit, EngineImage: c.EngineImage, Image: b.imageName(c),
		Status: b.containerStatus(c), Running: c.Running, Health: c.Health, ExitCode: c.ExitCode, Error: c.Error,
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, Restarts: b.cur.Restarts[current.Slot(c.AppUUID, c.ServiceName)], Env: environment(c.Env),
		Reason: b.status.Reasons[current.Slot(a.UUID, c.ServiceName)],
	})
}

func environment(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, e := range list {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	return env
}

// imageName is the registry reference a container's image is recorded under for its service.
func (b *builder) imageName(c *current.Container) string {
	name := ""
	for _, r := range b.cur.Records {
		if r.EngineID != c.ImageEngine || r.ServiceName != c.ServiceName {
			continue
		}
		if r.Commit == c.Commit {
			return r.Name
		}
		if name == "" || r.Name < name {
			name = r.Name
		}
	}
	return name
}

// containerStatus is the engine's word in the API's spelling, unless work is under way
// (docs/spec/engine.md 4.1 and 5.5).
func (b *builder) containerStatus(c *current.Container) string {
	if doing, busy := b.cur.Doing[c.ID]; busy {
		return doing.Status
	}
	switch {
	case c.Running && c.Status != "paused": // also one that the engine restarts again and again
		return "Running"
	case c.Status == "created":
		return "Installed"
	case c.Status == "dead":
		return "Dead"
	}
	return c.Status
}

func (b *builder) pull(p current.Pull) {
	for _, r := range p.For {
		if b.cur.Images[b.cur.Records[r.Key()].EngineID] != nil {
			continue // only its end is missing
		}
		percent := p.Percent
		b.image(r, "Downloading", &percent)
	}
}

func (b *builder) record(r current.Record) {
	if b.cur.Images[r.EngineID] == nil || r.Former {
		return
	}
	status := "Downloaded"
	doing, busy := b.cur.Doing[current.Slot(r.AppUUID, r.ServiceName)]
	switch {
	case b.cur.Deleting[r.Name]:
		status = "Deleting"
	case busy && doing.For.Key() == r.Key():
		status = doing.Status // its container is being created and has no id yet
	}
	b.image(r, status, nil)
}

func (b *builder) image(r current.Record, status string, progress *int) {
	a := b.of(r.AppUUID, r.AppID)
	a.Images = append(a.Images, view.Image{
		Name: r.Name, AppID: r.AppID, ServiceName: r.ServiceName, ServiceID: r.ServiceID, ImageID: r.ImageID,
		ReleaseID: r.ReleaseID, Commit: r.Commit, EngineID: r.EngineID, Status: status, Progress: progress,
	})
}

// handover marks the containers of services of which two releases run: the oldest hands over, the
// others wait for it (docs/spec/engine.md 9.1). They are in order of service and age.
func handover(list []view.Container) {
	for begin := 0; begin < len(list); {
		end, running, releases := begin, []*view.Container(nil), make(map[string]bool)
		for ; end < len(list) && list[end].ServiceName == list[begin].ServiceName; end++ {
			if c := &list[end]; c.Status == "Running" {
				running = append(running, c)
				releases[c.Commit] = true
			}
		}
		if begin = end; len(releases) < 2 {
			continue
		}
		for i, c := range running {
			c.Status = "Awaiting handover"
			if i == 0 {
				c.Status = "Handing over"
			}
		}
	}
}

func (b *builder) order(a *view.App) {
	sort.Slice(a.Containers, func(i, j int) bool {
		x, y := &a.Containers[i], &a.Containers[j]
		return cmp.Or(cmp.Compare(x.ServiceName, y.ServiceName), x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID)) < 0
	})
	handover(a.Containers)
	sort.Slice(a.Images, func(i, j int) bool {
		x, y := &a.Images[i], &a.Images[j]
		return cmp.Or(cmp.Compare(x.ServiceName, y.ServiceName), cmp.Compare(x.ReleaseID, y.ReleaseID), cmp.Compare(x.Name, y.Name)) < 0
	})
}
