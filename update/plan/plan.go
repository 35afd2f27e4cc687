package plan

import (
	"maps"
	"slices"
	"sort"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// Target is the target state: resolved apps by uuid.
type Target map[string]*compose.App

// Options is what the planner knows beside the two states.
type Options struct {
	// Held holds the apps whose update lock the agent holds: uuid to app id.
	Held map[string]int
	// Leftover holds the ids of apps with lock files of an earlier run of the agent.
	Leftover map[int]bool
	// Busy holds the apps (by uuid) that have a running step.
	Busy map[string]bool
	// Intermediate holds the apps whose target is only a step of an API action, with the reason. They keep their
	// lock, their commit and their images (docs/spec/engine.md 5.8).
	Intermediate map[string]string
	// Now is the time, to tell how long a container has been running.
	Now time.Time
	// Trial holds the apps (by uuid) whose release must pass the health gate before it becomes the current one, with
	// the deadline. The deadline is zero until the first change to a container.
	Trial map[string]time.Time
	// Earlier holds the containers (engine id) that existed before this boot and had not been started.
	Earlier map[string]bool
	// RebootRequired says that a reboot was requested since the device booted.
	RebootRequired bool
	// Restore is the app (uuid) whose volumes are restored from a backup before any other step; empty for none.
	Restore string
	// Purge holds the apps (by uuid) whose volumes are removed with them, even with KeepVolumes.
	Purge map[string]bool
	// Kept holds the images (by reference, tag or engine id) that the engine refused to remove, because a container
	// that is not ours uses them.
	Kept map[string]bool
	// Looked holds the images (by reference) that passed the preflight recently: they can be pulled, they run here, and
	// there is room for them.
	Looked map[string]bool
	// CleanUp allows the removal of images without a name that the agent did not pull. It is set while a cloud's
	// target applies. In local mode, and so on every device without a cloud, people build images on the engine, and
	// an image without a name may be part of a running build.
	CleanUp bool
	// Supervisor is the image of the agent itself, zero when it is not known.
	Supervisor target.Reference
	// Deltas allows downloads by delta, on an engine that supports them.
	Deltas bool
	// NoSpace says that the engine's storage is full. Unused images are then removed before the next download.
	NoSpace bool
	// FirmwareReady says that the volume of extra firmware exists and the host knows it.
	FirmwareReady bool
	// MaxPulls limits the downloads that run at once.
	MaxPulls    int
	KeepImages  bool // unused images stay while there is room
	KeepVolumes bool // local mode
}

// Next lists the steps that may run now, in a stable order. No step means that the target is reached, or that the
// current state is not known yet.
func Next(cur *current.State, tgt Target, o Options) []Step {
	if !cur.Synced {
		return nil
	}
	steps := append(supervisorNetwork(cur), firmware(tgt, &o)...)
	apps, unread := group(cur, tgt, &o), false
	for _, want := range tgt {
		unread = unread || want.ID == target.UnknownID
	}
	for _, uuid := range slices.Sorted(maps.Keys(apps)) {
		a := apps[uuid]
		switch {
		case a.want == nil && unread && !a.intermediate():
			// This may be the app that cannot be read: volumes name their app by its id only.
			steps = append(steps, a.leaveAlone("an app of the target cannot be read")...)
		case a.want == nil:
			steps = append(steps, a.planAppRemoval()...)
		case uuid == o.Restore:
			s := a.step(Restore, "backup", "a migration of the device left a backup")
			s.Volumes = a.want.Volumes
			steps = append(steps, s)
		case a.want.Rejected != "":
			steps = append(steps, a.leaveAlone("the release is rejected")...)
		default:
			steps = append(steps, a.planUpdate()...)
		}
	}
	var removals []Step
	restores := o.Restore != "" && o.Busy[o.Restore] // the restore uses an image that no record names
	if (!o.KeepImages || o.NoSpace) && !restores {
		removals = append(unusedImages(cur, apps, &o, steps), cleanUp(cur, &o)...)
	}
	slots, full := o.MaxPulls-len(cur.Pulls), "the maximum number of downloads is running"
	if o.NoSpace && len(removals) > 0 {
		slots, full = 0, "unused images are removed first to make room"
	}
	return reboot(cur, limitPulls(cur, append(steps, removals...), slots, full), &o)
}

// reboot adds the requested reboot once no other step is left (docs/spec/engine.md 5.2).
func reboot(cur *current.State, steps []Step, o *Options) []Step {
	if !o.RebootRequired || len(cur.Pulls)+len(o.Busy)+len(o.Intermediate) > 0 {
		return steps
	}
	for _, s := range steps {
		if s.Kind != Wait {
			return steps
		}
	}
	return append(steps, Step{Kind: Reboot, Key: "reboot", Reason: "changes are applied at the next boot"})
}

// app is one app with its current and its target state, all that its planning sees.
type app struct {
	uuid string
	id   int
	name string
	want *compose.App // nil when the app is not in the target
	opts *Options
	cur  *current.State // for images and image records only

	containers map[string][]*current.Container // by service name, newest first
	networks   map[string][]*current.Network   // by engine name; more than one is a defect
	volumes    map[string]*current.Volume      // by engine name
	anonymous  []string                        // engine names in cur.Anonymous
	used       *used                           // see inUse
	index      *index                          // of all apps together
}

// used holds the volumes and networks that containers of an app use, by engine name.
type used struct{ volumes, networks map[string]bool }

// index speeds up frequent look-ups in the current state. The first look-up builds each part.
type index struct {
	records  map[string][]current.Record // by current.Slot, sorted by key
	networks map[string]bool             // by engine name
}

// group assigns the engine's objects to apps. An object belongs to the target app with its uuid, or else to the target
// app with its id, since lock directories and volumes are named by id. All other objects form apps to remove.
//
// An app of which only the lock or the commit is left is one of these, so that both are dropped.
func group(cur *current.State, tgt Target, o *Options) map[string]*app {
	g := grouping{cur: cur, opts: o, index: &index{}, apps: make(map[string]*app, len(tgt)), byID: make(map[int]string, len(tgt))}
	for uuid, want := range tgt {
		g.apps[uuid] = &app{uuid: uuid, id: want.ID, name: want.Name, want: want, cur: cur, opts: o, index: g.index}
		if other, taken := g.byID[want.ID]; !taken || uuid < other {
			g.byID[want.ID] = uuid
		}
	}
	for _, uuid := range slices.Sorted(maps.Keys(o.Held)) {
		g.app(uuid, o.Held[uuid])
	}
	for _, uuid := range slices.Sorted(maps.Keys(cur.Commits)) {
		g.app(uuid, 0)
	}
	for _, id := range slices.Sorted(maps.Keys(cur.Containers)) {
		c := cur.Containers[id]
		a := g.app(c.AppUUID, c.AppID)
		appendTo(&a.containers, c.ServiceName, c)
	}
	for _, id := range slices.Sorted(maps.Keys(cur.Networks)) {
		if n := cur.Networks[id]; n.Name != compose.SupervisorNetworkName {
			a := g.app(n.AppUUID, n.AppID)
			appendTo(&a.networks, n.Name, n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cur.Volumes)) {
		g.addVolume(cur.Volumes[name])
	}
	for _, name := range slices.Sorted(maps.Keys(cur.Anonymous)) {
		id := cur.Anonymous[name].AppID
		a := g.app(g.byID[id], id)
		a.anonymous = append(a.anonymous, name)
	}
	for _, a := range g.apps {
		a.sort()
	}
	return g.apps
}

type grouping struct {
	cur   *current.State
	opts  *Options
	index *index
	apps  map[string]*app
	byID  map[int]string
}

// app finds or makes the app of an object with this uuid and id, of which one may be missing.
func (g *grouping) app(uuid string, id int) *app {
	if a := g.apps[uuid]; a != nil {
		return g.withID(a, id)
	}
	if known, ok := g.byID[id]; ok && id != 0 {
		return g.apps[known]
	}
	key := current.AppKey(uuid, id)
	if g.apps[key] == nil {
		g.apps[key] = &app{uuid: key, id: id, cur: g.cur, opts: g.opts, index: g.index}
	}
	return g.withID(g.apps[key], id)
}

// withID records the id of an app that was known by uuid only.
func (g *grouping) withID(a *app, id int) *app {
	if id != 0 && a.id == 0 {
		a.id = id
	}
	if _, taken := g.byID[id]; !taken && id != 0 {
		g.byID[id] = a.uuid
	}
	return a
}

// addVolume adds a volume to its app, which its name tells by id only. A volume without our label belongs to an app
// only if another object or the target names that app (docs/spec/engine.md D15).
func (g *grouping) addVolume(v *current.Volume) {
	uuid, known := g.byID[v.AppID]
	if !known && !v.Supervised {
		return
	}
	a := g.apps[uuid]
	if a == nil {
		a = g.app("", v.AppID)
	}
	if a.volumes == nil {
		a.volumes = make(map[string]*current.Volume)
	}
	a.volumes[v.Name] = v
}

func appendTo[T any](m *map[string][]T, key string, value T) {
	if *m == nil {
		*m = make(map[string][]T)
	}
	(*m)[key] = append((*m)[key], value)
}

// sort puts containers (newest first) and networks into an order that does not depend on map order.
func (a *app) sort() {
	for _, list := range a.containers {
		sort.Slice(list, func(i, j int) bool {
			x, y := list[i], list[j]
			return x.CreatedAt.After(y.CreatedAt) || x.CreatedAt.Equal(y.CreatedAt) && x.ID < y.ID
		})
	}
	for _, list := range a.networks {
		sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	}
}

// intermediate reports whether the app's target is only a step of an API action.
func (a *app) intermediate() bool { return a.opts.Intermediate[a.uuid] != "" }

// reasonOr returns the reason of an intermediate target, or else the given one.
func (a *app) reasonOr(reason string) string {
	if why := a.opts.Intermediate[a.uuid]; why != "" {
		return why
	}
	return reason
}

func (a *app) holdsLock() bool {
	_, held := a.opts.Held[a.uuid]
	return held
}

func (a *app) step(kind Kind, key, reason string) Step {
	return Step{Kind: kind, Key: a.uuid + "/" + key, Reason: reason, AppUUID: a.uuid, AppID: a.id, AppName: a.name}
}

// supervisorNetwork creates or replaces the network on which containers reach the device API
// (docs/spec/engine.md 3.3). Services that use it wait for it as for any other network.
func supervisorNetwork(cur *current.State) []Step {
	want := compose.SupervisorNetwork()
	var ids []string
	reason := "network " + want.Name + " is missing"
	for _, n := range cur.Networks {
		if n.Name != want.Name {
			continue
		}
		diff := cur.Altered[n.ID].Besides(compose.CompareNetwork(want, n.Config))
		if len(diff) == 0 {
			return nil
		}
		ids, reason = append(ids, n.ID), compose.Describe(diff)
	}
	if len(ids) == 0 {
		return []Step{{Kind: CreateNetwork, Key: "network " + want.Name, Reason: reason, Network: want}}
	}
	if users := attached(cur, want.Name); len(users) > 0 {
		return killAll(users, "network "+want.Name+" must be replaced: "+reason)
	}
	return []Step{{Kind: RemoveNetwork, Key: "network " + want.Name, Reason: reason, Object: want.Name, IDs: ids}}
}

// firmware prepares the volume of extra firmware once a service uses it (docs/spec/engine.md 3.1).
func firmware(tgt Target, o *Options) []Step {
	if o.FirmwareReady {
		return nil
	}
	for _, a := range tgt {
		for _, s := range a.Services {
			if a.Rejected == "" && s.UsesExtraFirmware() {
				name := compose.ExtraFirmwareVolume
				return []Step{{Kind: PrepareVolume, Key: "volume " + name, Object: name, Reason: "a service uses it"}}
			}
		}
	}
	return nil
}

func attached(cur *current.State, network string) []*current.Container {
	var users []*current.Container
	for _, c := range cur.Containers {
		if _, uses := c.Config.Networks[network]; uses {
			users = append(users, c)
		}
	}
	sort.Slice(users, func(i, j int) bool { return users[i].ID < users[j].ID })
	return users
}

func killAll(users []*current.Container, reason string) []Step {
	var steps []Step
	for _, c := range users {
		uuid := current.AppKey(c.AppUUID, c.AppID)
		steps = append(steps, Step{Kind: Kill, Key: ServiceKey(uuid, c.ServiceName), Reason: reason,
			AppUUID: uuid, AppID: c.AppID, Container: c, Keep: true})
	}
	return steps
}

// VolumeKey is the Key of all steps on a volume, by its engine name.
func VolumeKey(appUUID, name string) string { return appUUID + "/volume " + name }

// ServiceKey is the Key of all steps on a service.
func ServiceKey(appUUID, service string) string { return appUUID + "/service " + service }
