package update

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// draw makes the picture that readers get from what the loop and the engine say.
func draw(s *status, cur *current.State) *view.State {
	d := drawing{status: s, cur: cur, apps: make(map[string]*view.App)}
	v := &view.State{
		Synced: cur.Listed, Applying: s.applying, Waiting: s.applying && s.attempt.IsZero(), Pending: s.pending, Failed: s.failed, Downloaded: s.downloaded,
		LocalMode: s.localMode, LastErrors: s.problems, NextAttempt: s.next,
	}
	if s.target != nil {
		v.HasTarget, v.DeviceName = true, deviceName(s.target)
		for _, a := range s.target.Apps {
			d.target(a)
		}
	}
	for _, c := range cur.Containers {
		d.container(c)
	}
	for _, p := range cur.Pulls {
		d.pull(p)
	}
	for _, r := range cur.Records {
		d.record(r)
	}
	for _, a := range d.apps {
		d.order(a)
		v.Apps = append(v.Apps, *a)
	}
	sort.Slice(v.Apps, func(i, j int) bool {
		x, y := &v.Apps[i], &v.Apps[j]
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.UUID, y.UUID)) < 0
	})
	return v
}

type drawing struct {
	status *status
	cur    *current.State
	apps   map[string]*view.App
}

func (d *drawing) locked(uuid string) bool {
	_, held := d.status.held[uuid]
	return held
}

func (d *drawing) target(a *target.App) {
	app := &view.App{
		ID: a.ID, UUID: a.UUID, Name: a.Name, Class: a.Class, IsHost: a.IsHost, InTarget: true, Rejected: a.Rejected,
		Commit: d.cur.Commits[a.UUID], LockHeld: d.locked(a.UUID), RolledBack: d.status.rolledBack[a.UUID],
		Waits: d.waits(a.UUID, ""),
	}
	if resolved := d.status.apps[a.UUID]; resolved != nil {
		app.Rejected = resolved.Rejected
	}
	if a.Release != nil {
		app.TargetCommit, app.ReleaseID = a.Release.Commit, a.Release.ID
		for _, name := range slices.Sorted(maps.Keys(a.Release.Services)) {
			s := a.Release.Services[name]
			app.Services = append(app.Services, drawService(s))
			app.Services[len(app.Services)-1].Waits = d.waits(a.UUID, name)
		}
		if s := a.Release.Agent; s != nil {
			agent := drawService(s)
			app.Agent = &agent
		}
	}
	d.apps[a.UUID] = app
}

// waits is what a service waits for, or with no service the app.
func (d *drawing) waits(uuid, service string) string {
	for i := range d.status.waits {
		if s := &d.status.waits[i]; s.AppUUID == uuid && s.ServiceName() == service {
			return s.Reason
		}
	}
	return ""
}

func drawService(s *target.Service) view.Service {
	return view.Service{Name: s.Name, ID: s.ID, ImageID: s.ImageID, Image: s.Image, Running: s.Running}
}

// of is the app an object belongs to: by uuid, else by id, else one that is not in the target.
func (d *drawing) of(uuid string, id int) *view.App {
	if a := d.apps[uuid]; a != nil {
		return a
	}
	for _, a := range d.apps {
		if a.ID == id {
			return a
		}
	}
	key := current.AppKey(uuid, id)
	if d.apps[key] == nil {
		d.apps[key] = &view.App{ID: id, UUID: key, Commit: d.cur.Commits[key], LockHeld: d.locked(key)}
	}
	return d.apps[key]
}

func (d *drawing) container(c *current.Container) {
	a := d.of(c.AppUUID, c.AppID)
	if a.ID == target.UnknownID {
		a.ID = c.AppID
	}
	a.Containers = append(a.Containers, view.Container{
		ID: c.ID, Name: c.Name, ServiceName: c.ServiceName, ServiceID: c.ServiceID, AppID: c.AppID,
		ImageID: c.ImageID, ReleaseID: c.ReleaseID, Commit: c.Commit, EngineImage: c.EngineImage, Image: d.imageName(c),
		Status: d.containerStatus(c), Running: c.Running, Health: c.Health, ExitCode: c.ExitCode, Error: c.Error,
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, Restarts: d.cur.Restarts[current.Slot(c.AppUUID, c.ServiceName)], Env: environment(c.Env),
		Reason: d.status.touched[current.Slot(a.UUID, c.ServiceName)],
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
func (d *drawing) imageName(c *current.Container) string {
	name := ""
	for _, r := range d.cur.Records {
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
func (d *drawing) containerStatus(c *current.Container) string {
	if doing, busy := d.cur.Doing[c.ID]; busy {
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

func (d *drawing) pull(p current.Pull) {
	for _, r := range p.For {
		if d.cur.Images[d.cur.Records[r.Key()].EngineID] != nil {
			continue // it is done but for its end
		}
		percent := p.Percent
		d.image(r, "Downloading", &percent)
	}
}

func (d *drawing) record(r current.Record) {
	if d.cur.Images[r.EngineID] == nil || r.Former {
		return
	}
	status := "Downloaded"
	doing, busy := d.cur.Doing[current.Slot(r.AppUUID, r.ServiceName)]
	switch {
	case d.cur.Deleting[r.Name]:
		status = "Deleting"
	case busy && doing.For.Key() == r.Key():
		status = doing.Status // its container is being created and has no id yet
	}
	d.image(r, status, nil)
}

func (d *drawing) image(r current.Record, status string, progress *int) {
	a := d.of(r.AppUUID, r.AppID)
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

func (d *drawing) order(a *view.App) {
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
