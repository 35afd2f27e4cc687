package plan

import (
	"maps"
	"slices"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// update plans one pass of an app that is in the target (docs/spec/engine.md 5.4). Work that needs the
// app's update lock is replaced by one request for it; it comes up again once the lock is held.
func (a *app) update() []Step {
	w := &work{app: a, broken: make(map[string]string), pending: make(map[string]bool), missing: make(map[string]bool)}
	w.names = w.serviceNames()
	w.pending[compose.ExtraFirmwareVolume] = !a.opts.FirmwareReady
	w.dead()
	w.volumes()
	w.networks()
	w.pairs()
	w.anonymous()
	if w.needLock {
		w.add(a.takeLock(w.lockReason))
	}
	if w.stuck() {
		w.steps = append(w.steps, a.releaseLock(w.hold)...)
	}
	steps := w.steps
	if len(steps) == 0 && !a.opts.Busy[a.uuid] && !a.intermediate() {
		steps = a.settle()
	}
	if a.late(steps) {
		return []Step{a.rollBack(steps)}
	}
	return steps
}

// work collects the steps of one app in one pass.
type work struct {
	*app
	steps      []Step
	names      []string // of all services, sorted
	pairing    map[string]*pair
	hold       string            // why the release cannot go ahead yet: an image that is missing or does not run here
	refused    bool              // an image of the release does not run here
	missing    map[string]bool   // images of the release that are not on the device
	unseen     bool              // of one of them it is not known whether it can be had
	looking    bool              // it was asked whether they can be had
	broken     map[string]string // network or volume that must go first -> why
	pending    map[string]bool   // networks and volumes that do not exist as wanted
	needLock   bool
	lockReason string
}

func (w *work) add(s Step) {
	if len(w.steps) == cap(w.steps) { // a long list grows by too little by itself
		w.steps = slices.Grow(w.steps, len(w.steps)+1)
	}
	w.steps = append(w.steps, s)
}

// locked adds a step that needs the app's lock, or asks for the lock.
func (w *work) locked(s Step) {
	if w.held() {
		w.add(s)
		return
	}
	if !w.needLock {
		w.needLock, w.lockReason = true, s.String()
	}
}

func (w *work) wait(service, reason string) {
	s, p := w.step(Wait, "wait "+service, reason), w.pairing[service]
	s.Service, s.Container = p.want, p.have
	w.add(s)
}

// dead removes containers that the engine could not remove itself; they hold no lock and no data.
func (w *work) dead() {
	for _, name := range w.names {
		for _, c := range w.containers[name] {
			if c.Status == "dead" {
				s := w.step(Remove, "service "+name, "the engine reports it dead")
				s.Container, s.Keep = c, w.want.Services[name] != nil || w.intermediate()
				w.add(s)
			}
		}
	}
}

// volumes creates what is missing and replaces what differs once nothing uses it. Volumes that the
// target no longer names are kept: they are data.
func (w *work) volumes() {
	for _, name := range slices.Sorted(maps.Keys(w.want.Volumes)) {
		want, have := w.want.Volumes[name], w.app.volumes[name]
		if have == nil {
			w.pending[name] = true
			s := w.step(CreateVolume, "volume "+name, "volume "+name+" is missing")
			s.Volume = want
			w.add(s)
			continue
		}
		diff := w.cur.Altered[name].Besides(compose.CompareVolume(want, have.Config))
		if len(diff) == 0 {
			continue
		}
		w.pending[name] = true
		w.broken[name] = "volume " + name + " is replaced: " + compose.Describe(diff)
		if !w.mounted(name) {
			w.add(w.removeVolume(name, w.broken[name]))
		}
	}
}

// anonymous removes the anonymous volumes that were kept for the next container of a service, once none is to
// have them (docs/spec/engine.md 2.7).
func (w *work) anonymous() {
	if w.intermediate() {
		return
	}
	for _, name := range w.app.anonymous {
		v := w.cur.Anonymous[name]
		if p := w.pairing[v.Service]; p != nil && p.have == nil && p.want != nil &&
			(!p.want.ImageKnown || p.want.Container.Doc.Image == v.Image && p.want.Container.Anonymous(v.Path)) {
			continue
		}
		if !w.mounted(name) {
			w.add(w.removeVolume(name, "no container of service "+v.Service+" is to have the anonymous volume"))
		}
	}
}

func (a *app) removeVolume(name, reason string) Step {
	s := a.step(RemoveVolume, "volume "+name, reason)
	s.Object = name
	return s
}

// mounted tells whether a container of the app mounts a volume.
func (a *app) mounted(volume string) bool { return a.inUse().volumes[volume] }

// inUse is what containers of the app mount and are attached to. It is made when first asked for.
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

// networks creates what is missing and removes what is not wanted, what differs and what exists
// twice, once no container is attached (docs/spec/engine.md 3.2).
func (w *work) networks() {
	for _, name := range slices.Sorted(maps.Keys(w.want.Networks)) {
		want, have := w.want.Networks[name], w.app.networks[name]
		switch {
		case len(have) == 0:
			w.pending[name] = true
			s := w.step(CreateNetwork, "network "+name, "network "+name+" is missing")
			s.Network = want
			w.add(s)
		case len(have) > 1:
			w.dropNetwork(name, "network "+name+" exists more than once")
		default:
			diff := w.cur.Altered[have[0].ID].Besides(compose.CompareNetwork(want, have[0].Config))
			if len(diff) > 0 {
				w.dropNetwork(name, "network "+name+" is replaced: "+compose.Describe(diff))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.app.networks)) {
		if w.want.Networks[name] == nil {
			w.dropNetwork(name, "network "+name+" is not in the target")
		}
	}
}

func (w *work) dropNetwork(name, reason string) {
	w.pending[name] = true
	w.broken[name] = reason
	if w.attachedTo(name) {
		return
	}
	w.add(w.removeNetwork(name, reason))
}

func (a *app) removeNetwork(name, reason string) Step {
	s := a.step(RemoveNetwork, "network "+name, reason)
	s.Object = name
	for _, n := range a.networks[name] {
		s.IDs = append(s.IDs, n.ID)
	}
	return s
}

// attachedTo tells whether a container of the app is attached to a network.
func (a *app) attachedTo(network string) bool { return a.inUse().networks[network] }

// takeLock asks for the update locks of every service the app has or is to have.
func (a *app) takeLock(reason string) Step {
	s := a.step(TakeLock, "lock", "needed to "+reason)
	s.Services = a.serviceNames()
	return s
}

// settle closes an app that has nothing left to do: its release becomes the current one and its
// lock is released.
func (a *app) settle() []Step {
	var steps []Step
	if a.want.Commit != a.cur.Commits[a.uuid] {
		// The locks go before the verdict: a service may need its own to become healthy.
		if trial := a.trial(); trial != nil {
			return append(trial, a.releaseLock("only the verdict on the release is still to come")...)
		}
		s := a.step(SetCommit, "commit", "every step of the release is done")
		s.Commit, s.Source = a.want.Commit, a.want.Source
		steps = append(steps, s)
	}
	return append(steps, a.releaseLock("the app is settled")...)
}

// untouched plans for an app that stays as it is: a lock that was taken for an earlier target goes.
func (a *app) untouched(reason string) []Step {
	if a.opts.Busy[a.uuid] {
		return nil
	}
	return a.releaseLock(reason)
}

// stuck tells whether nothing can be done under the lock for now: an image of the release does not run here,
// or one is missing while every service still has a container. A download may take as long as it likes.
func (w *work) stuck() bool {
	if !w.held() || w.hold == "" || w.intermediate() {
		return false
	}
	for _, s := range w.steps {
		reviving := s.Kind == Start && s.Service == nil
		if s.Kind != Wait && s.Kind != Look && s.Kind != Fetch && s.Kind != Save && !reviving {
			return false
		}
	}
	for _, p := range w.pairing {
		if !w.refused && p.want != nil && p.have == nil {
			return false
		}
	}
	return true
}

func (a *app) releaseLock(reason string) []Step {
	switch {
	case a.held():
		s := a.step(ReleaseLock, "lock", reason)
		s.AppID = a.opts.Held[a.uuid] // an app that is gone may have left its id to another one
		return []Step{s}
	case a.opts.Leftover[a.id]:
		return []Step{a.step(SweepLock, "lock", "an earlier run of the agent left lock files")}
	}
	return nil
}

// removal plans one pass of an app that left the target (docs/spec/engine.md 5.7): lock, containers,
// networks, volumes, each stage when the one before is through.
func (a *app) removal() []Step {
	reason := a.because("the app is not in the target")
	if len(a.containers) > 0 && !a.held() {
		return []Step{a.takeLock("remove the app: " + reason)}
	}
	var steps []Step
	for _, name := range slices.Sorted(maps.Keys(a.containers)) {
		for _, c := range a.containers[name] {
			steps = append(steps, a.kill(c, reason))
		}
	}
	if len(steps) > 0 {
		return steps
	}
	for _, name := range slices.Sorted(maps.Keys(a.networks)) {
		steps = append(steps, a.removeNetwork(name, reason))
	}
	if len(steps) > 0 {
		return steps
	}
	for _, name := range a.anonymous {
		steps = append(steps, a.removeVolume(name, reason))
	}
	if !a.opts.KeepVolumes || a.opts.Purge[a.uuid] {
		for _, name := range slices.Sorted(maps.Keys(a.volumes)) {
			steps = append(steps, a.removeVolume(name, reason))
		}
	}
	if len(steps) > 0 || a.opts.Busy[a.uuid] || a.intermediate() {
		return steps
	}
	return a.forget()
}

// forget ends the life of a removed app: its commit and its lock go.
func (a *app) forget() []Step {
	var steps []Step
	if a.cur.Commits[a.uuid] != "" {
		steps = append(steps, a.step(SetCommit, "commit", "the app is gone"))
	}
	return append(steps, a.releaseLock("the app is gone")...)
}

func (a *app) kill(c *current.Container, reason string) Step {
	s := a.step(Kill, "service "+c.ServiceName, reason)
	s.Container = c
	return s
}
