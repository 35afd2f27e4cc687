package plan

import (
	"maps"
	"slices"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// planUpdate plans one pass of an app that is in the target (docs/spec/engine.md 5.4). While the agent does not
// hold the app's update lock, one step that takes the lock replaces all steps that need it.
func (a *app) planUpdate() []Step {
	pl := &appPlanner{app: a, toRemove: make(map[string]string), pending: make(map[string]bool), missingImages: make(map[string]bool)}
	pl.names = pl.serviceNames()
	pl.pending[compose.ExtraFirmwareVolume] = !a.opts.FirmwareReady
	pl.planDead()
	pl.planVolumes()
	pl.planNetworks()
	pl.planServices()
	pl.planAnonymous()
	if pl.needLock {
		pl.add(a.takeLock(pl.lockReason))
	}
	if pl.lockIdle() {
		pl.steps = append(pl.steps, a.releaseLock(pl.blocked)...)
	}
	steps := pl.steps
	if len(steps) == 0 && !a.opts.Busy[a.uuid] && !a.intermediate() {
		steps = a.finish()
	}
	if a.gateExpired(steps) {
		return []Step{a.rollbackStep(steps)}
	}
	return steps
}

// appPlanner collects the steps of one app in one pass.
type appPlanner struct {
	*app
	steps         []Step
	names         []string // of all services, sorted
	pairs         map[string]*pair
	blocked       string            // why no service of the release can start yet: an image is missing or does not run here
	wrongPlatform bool              // an image of the release does not run here
	missingImages map[string]bool   // images of the release that are not on the device
	unchecked     bool              // the preflight has not checked one of the missing images
	preflight     bool              // this pass has the preflight step
	toRemove      map[string]string // networks and volumes to remove first, each with the reason
	pending       map[string]bool   // networks and volumes that are missing or differ from the target
	needLock      bool
	lockReason    string
}

func (pl *appPlanner) add(s Step) {
	if len(pl.steps) == cap(pl.steps) { // append grows a long list by too little
		pl.steps = slices.Grow(pl.steps, len(pl.steps)+1)
	}
	pl.steps = append(pl.steps, s)
}

// addLocked adds a step that needs the app's lock. Without the lock it requests the lock instead.
func (pl *appPlanner) addLocked(s Step) {
	if pl.holdsLock() {
		pl.add(s)
		return
	}
	if !pl.needLock {
		pl.needLock, pl.lockReason = true, s.String()
	}
}

func (pl *appPlanner) addWait(service, reason string) {
	s, p := pl.step(Wait, "wait "+service, reason), pl.pairs[service]
	s.Service, s.Container = p.want, p.have
	pl.add(s)
}

// planDead removes containers that the engine failed to remove. They hold no lock and no data.
func (pl *appPlanner) planDead() {
	for _, name := range pl.names {
		for _, c := range pl.containers[name] {
			if c.Status == "dead" {
				s := pl.step(Remove, "service "+name, "the engine reports it dead")
				s.Container, s.Keep = c, pl.want.Services[name] != nil || pl.intermediate()
				pl.add(s)
			}
		}
	}
}

// planVolumes creates missing volumes, and removes a volume that differs once no container mounts it. Volumes
// that the target no longer names stay, because they hold data.
func (pl *appPlanner) planVolumes() {
	for _, name := range slices.Sorted(maps.Keys(pl.want.Volumes)) {
		want, have := pl.want.Volumes[name], pl.volumes[name]
		if have == nil {
			pl.pending[name] = true
			s := pl.step(CreateVolume, "volume "+name, "volume "+name+" is missing")
			s.Volume = want
			pl.add(s)
			continue
		}
		diff := pl.cur.Altered[name].Besides(compose.CompareVolume(want, have.Config))
		if len(diff) == 0 {
			continue
		}
		pl.pending[name] = true
		pl.toRemove[name] = "volume " + name + " is replaced: " + compose.Describe(diff)
		if !pl.mounted(name) {
			pl.add(pl.removeVolumeStep(name, pl.toRemove[name]))
		}
	}
}

// planAnonymous removes the anonymous volumes that were kept for the next container of a service, once no next
// container will use them (docs/spec/engine.md 2.7).
func (pl *appPlanner) planAnonymous() {
	if pl.intermediate() {
		return
	}
	for _, name := range pl.anonymous {
		v := pl.cur.Anonymous[name]
		if p := pl.pairs[v.Service]; p != nil && p.have == nil && p.want != nil &&
			(!p.want.ImageKnown || p.want.Container.Doc.Image == v.Image && p.want.Container.Anonymous(v.Path)) {
			continue
		}
		if !pl.mounted(name) {
			pl.add(pl.removeVolumeStep(name, "no container of service "+v.Service+" will use the anonymous volume"))
		}
	}
}

func (a *app) removeVolumeStep(name, reason string) Step {
	s := a.step(RemoveVolume, "volume "+name, reason)
	s.Object = name
	return s
}

// mounted reports whether a container of the app mounts a volume.
func (a *app) mounted(volume string) bool { return a.inUse().volumes[volume] }

// inUse returns the volumes and networks that containers of the app use. The first call computes them.
func (a *app) inUse() *used {
	if a.used != nil {
		return a.used
	}
	a.used = &used{volumes: make(map[string]bool), networks: make(map[string]bool)}
	for _, list := range a.containers {
		for _, c := range list {
			for _, name := range c.VolumeNames {
				a.used.volumes[name] = true
			}
			for name := range c.Config.Networks {
				a.used.networks[name] = true
			}
		}
	}
	return a.used
}

// planNetworks creates missing networks. It removes a network that is not in the target, differs from it or exists
// twice, once no container is attached (docs/spec/engine.md 3.2).
func (pl *appPlanner) planNetworks() {
	for _, name := range slices.Sorted(maps.Keys(pl.want.Networks)) {
		want, have := pl.want.Networks[name], pl.networks[name]
		switch {
		case len(have) == 0:
			pl.pending[name] = true
			s := pl.step(CreateNetwork, "network "+name, "network "+name+" is missing")
			s.Network = want
			pl.add(s)
		case len(have) > 1:
			pl.planRemoveNetwork(name, "network "+name+" exists more than once")
		default:
			diff := pl.cur.Altered[have[0].ID].Besides(compose.CompareNetwork(want, have[0].Config))
			if len(diff) > 0 {
				pl.planRemoveNetwork(name, "network "+name+" is replaced: "+compose.Describe(diff))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pl.networks)) {
		if pl.want.Networks[name] == nil {
			pl.planRemoveNetwork(name, "network "+name+" is not in the target")
		}
	}
}

func (pl *appPlanner) planRemoveNetwork(name, reason string) {
	pl.pending[name] = true
	pl.toRemove[name] = reason
	if pl.attachedTo(name) {
		return
	}
	pl.add(pl.removeNetworkStep(name, reason))
}

func (a *app) removeNetworkStep(name, reason string) Step {
	s := a.step(RemoveNetwork, "network "+name, reason)
	s.Object = name
	for _, n := range a.networks[name] {
		s.IDs = append(s.IDs, n.ID)
	}
	return s
}

// attachedTo reports whether a container of the app is attached to a network.
func (a *app) attachedTo(network string) bool { return a.inUse().networks[network] }

// takeLock requests the update lock of every service that the app has or will have.
func (a *app) takeLock(reason string) Step {
	s := a.step(TakeLock, "lock", "needed to "+reason)
	s.Services = a.serviceNames()
	return s
}

// finish ends the update of an app that has no more steps: its release becomes the current one, and its lock is
// released.
func (a *app) finish() []Step {
	var steps []Step
	if a.want.Commit != a.cur.Commits[a.uuid] {
		// The lock is released before the health gate is passed: a service may need it to become healthy.
		if wait := a.healthGate(); wait != nil {
			return append(wait, a.releaseLock("only the health of the release is still to be seen")...)
		}
		s := a.step(SetCommit, "commit", "every step of the release is done")
		s.Commit, s.Source = a.want.Commit, a.want.Source
		steps = append(steps, s)
	}
	return append(steps, a.releaseLock("every step of the app is done")...)
}

// leaveAlone plans for an app that stays as it is. It releases a lock that was taken for an earlier target.
func (a *app) leaveAlone(reason string) []Step {
	if a.opts.Busy[a.uuid] {
		return nil
	}
	return a.releaseLock(reason)
}

// lockIdle reports whether no step can use the lock for now: an image of the release does not run here, or one is
// missing while every service still has a container. A download may take hours, and users want the lock meanwhile.
func (pl *appPlanner) lockIdle() bool {
	if !pl.holdsLock() || pl.blocked == "" || pl.intermediate() {
		return false
	}
	for _, s := range pl.steps {
		oldContainer := s.Kind == Start && s.Service == nil
		if s.Kind != Wait && s.Kind != Look && s.Kind != Fetch && s.Kind != Save && !oldContainer {
			return false
		}
	}
	for _, p := range pl.pairs {
		if !pl.wrongPlatform && p.want != nil && p.have == nil {
			return false
		}
	}
	return true
}

func (a *app) releaseLock(reason string) []Step {
	switch {
	case a.holdsLock():
		s := a.step(ReleaseLock, "lock", reason)
		s.AppID = a.opts.Held[a.uuid] // another app may have the id by now
		return []Step{s}
	case a.opts.Leftover[a.id]:
		return []Step{a.step(SweepLock, "lock", "an earlier run of the agent left lock files")}
	}
	return nil
}

// planAppRemoval plans one pass of an app that left the target (docs/spec/engine.md 5.7): lock, containers, networks,
// volumes. Each stage begins when the one before is done.
func (a *app) planAppRemoval() []Step {
	reason := a.reasonOr("the app is not in the target")
	if len(a.containers) > 0 && !a.holdsLock() {
		return []Step{a.takeLock("remove the app: " + reason)}
	}
	var steps []Step
	for _, name := range slices.Sorted(maps.Keys(a.containers)) {
		for _, c := range a.containers[name] {
			steps = append(steps, a.killStep(c, reason))
		}
	}
	if len(steps) > 0 {
		return steps
	}
	for _, name := range slices.Sorted(maps.Keys(a.networks)) {
		steps = append(steps, a.removeNetworkStep(name, reason))
	}
	if len(steps) > 0 {
		return steps
	}
	for _, name := range a.anonymous {
		steps = append(steps, a.removeVolumeStep(name, reason))
	}
	if !a.opts.KeepVolumes || a.opts.Purge[a.uuid] {
		for _, name := range slices.Sorted(maps.Keys(a.volumes)) {
			steps = append(steps, a.removeVolumeStep(name, reason))
		}
	}
	if len(steps) > 0 || a.opts.Busy[a.uuid] || a.intermediate() {
		return steps
	}
	return a.forget()
}

// forget drops what is left of a removed app: its commit and its lock.
func (a *app) forget() []Step {
	var steps []Step
	if a.cur.Commits[a.uuid] != "" {
		steps = append(steps, a.step(SetCommit, "commit", "the app is gone"))
	}
	return append(steps, a.releaseLock("the app is gone")...)
}

func (a *app) killStep(c *current.Container, reason string) Step {
	s := a.step(Kill, "service "+c.ServiceName, reason)
	s.Container = c
	return s
}
