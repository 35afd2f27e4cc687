package plan

import (
	"maps"
	"slices"
	"strings"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// pair is one service with its present container and its target; either may be absent.
type pair struct {
	name    string
	want    *compose.Service
	have    *current.Container   // the newest container
	older   []*current.Container // further containers of the service
	differs string               // why the container must be replaced, empty when it need not be
	stale   string               // why the container must be renamed, empty when it need not be
}

// due says that the pair still has container work towards its target.
func (p *pair) due() bool {
	return p.want != nil && (p.have == nil || p.differs != "" || p.stale != "")
}

// pairs plans the containers of all services of the app.
func (w *work) pairs() {
	w.pairing = make(map[string]*pair, len(w.names))
	for _, name := range w.names {
		p := w.pair(name)
		w.pairing[name] = p
		if p.want != nil && !p.want.ImageKnown {
			w.hold = "image " + p.want.Image + " is not on the device"
			w.missing[p.want.Image] = true
			w.unseen = w.unseen || !w.opts.Looked[p.want.Image]
		}
	}
	w.refuse()
	for _, name := range w.names {
		w.service(w.pairing[name])
	}
}

// serviceNames lists the services that the app has or is to have.
func (a *app) serviceNames() []string {
	names := make([]string, 0, len(a.containers))
	for name := range a.containers {
		names = append(names, name)
	}
	if a.want != nil {
		for name := range a.want.Services {
			if len(a.containers[name]) == 0 {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (w *work) pair(name string) *pair {
	p := &pair{name: name, want: w.want.Services[name]}
	for _, c := range w.containers[name] {
		switch {
		case c.Status == "dead":
		case p.have == nil:
			p.have = c
		default:
			p.older = append(p.older, c)
		}
	}
	if p.want != nil && p.have != nil {
		p.differs = w.difference(p)
		p.stale = w.metadata(p)
	}
	return p
}

// difference says why a container cannot stay as it is.
func (w *work) difference(p *pair) string {
	if !p.want.ImageKnown {
		return "image " + p.want.Image + " is not on the device"
	}
	diff := compose.Compare(p.want, p.have.Config, w.peer, compose.Capabilities{NoOomKill: w.cur.NoOomKill})
	if diff = w.cur.Altered[p.have.ID].Besides(diff); len(diff) > 0 {
		return compose.Describe(diff)
	}
	return w.dependsOnBroken(p.have)
}

// dependsOnBroken says which network or volume of a container has to be replaced or removed.
func (w *work) dependsOnBroken(c *current.Container) string {
	if len(w.broken) == 0 {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(c.Config.Networks)) {
		if why := w.broken[name]; why != "" {
			return why
		}
	}
	for _, name := range c.VolumeNames {
		if why := w.broken[name]; why != "" {
			return why
		}
	}
	return ""
}

func (w *work) metadata(p *pair) string {
	name := compose.ContainerName(p.want.Name, p.want.ImageID, w.want.Release, w.want.Commit)
	if p.have.Name == name {
		return ""
	}
	return "name: " + p.have.Name + " -> " + name
}

// peer is the engine id of the present container of a service, empty when there is none.
func (w *work) peer(service string) string {
	for _, c := range w.containers[service] {
		if c.Status != "dead" {
			return c.ID
		}
	}
	return ""
}

func (w *work) service(p *pair) {
	w.save(p)
	for _, c := range p.older {
		w.locked(w.kill(c, "a newer container of the service exists"))
	}
	switch {
	case p.want == nil && p.have == nil:
	case p.want == nil:
		w.retire(p)
	case p.have == nil:
		w.install(p)
	case p.differs != "":
		w.replace(p)
	case p.stale != "":
		w.rename(p)
	default:
		w.run(p)
	}
}

// refuse holds the release back when an image of it cannot run on this device: nothing is stopped
// for it (what an image says of itself is believed only where the image it replaces told the truth).
func (w *work) refuse() {
	for _, name := range w.names {
		p := w.pairing[name]
		if p.want == nil || p.have == nil || !p.want.ImageKnown {
			continue
		}
		fresh, present := w.cur.Images[p.want.Container.Doc.Image], w.cur.Images[p.have.ImageEngine]
		if fresh == nil || present == nil || !present.Fits(w.cur.Machine) || fresh.Fits(w.cur.Machine) {
			continue
		}
		w.hold = "image " + p.want.Image + " is for " + fresh.Platform() + ", which does not run on " + w.cur.Machine
		s := w.step(Wait, "platform", "the release is refused: "+w.hold)
		s.Fault = true
		w.add(s)
		w.refused = true
		return
	}
}

// save records an image that is on the device for a service that has no record of it, or whose tag names
// it since.
func (w *work) save(p *pair) {
	if p.want == nil || !p.want.ImageKnown || w.intermediate() {
		return
	}
	r, reason := w.record(p.want), "the image is here and not yet recorded for the service"
	id := p.want.Container.Doc.Image
	if known, is := w.cur.Records[r.Key()]; is {
		if known.EngineID == id || strings.Contains(r.Name, "@") {
			return
		}
		reason = "the name stands for another image now"
	}
	r.EngineID = id
	s := w.imageStep(Save, p.want.Image, reason)
	s.Service, s.Records = p.want, []current.Record{r}
	w.add(s)
}

// record describes the image of a target service, without the engine's id for it.
func (w *work) record(s *compose.Service) current.Record {
	return current.Record{
		Name: s.Image, AppID: w.id, AppUUID: w.uuid, ServiceID: s.ID, ServiceName: s.Name,
		ImageID: s.ImageID, ReleaseID: w.want.Release, Commit: w.want.Commit,
	}
}

func (a *app) imageStep(kind Kind, image, reason string) Step {
	s := a.step(kind, "", reason)
	s.Key, s.Image = "image "+image, image
	return s
}

// retire removes the container of a service that left the target: at once with the strategies that
// kill first, else when the new release can start (docs/spec/engine.md 6).
func (w *work) retire(p *pair) {
	reason := w.because("service " + p.name + " is not in the target")
	strategy := p.have.Config.Strategy(w.want.Strategy)
	switch {
	case killsFirst(strategy):
		w.killFirst(p, reason)
	case w.hold == "":
		w.locked(w.takeDown(p, reason))
	default:
		w.wait(p.name, "is removed later: "+w.hold)
		w.revive(p)
	}
}

// install brings up a service that has no container.
func (w *work) install(p *pair) {
	if !p.want.ImageKnown {
		w.fetch(p)
		return
	}
	if why := w.notReady(p.want); why != "" {
		w.wait(p.name, why)
		return
	}
	s := w.start(p, w.because("no container for service "+p.name+" of release "+w.want.Commit))
	w.locked(s)
}

func (w *work) start(p *pair, reason string) Step {
	s := w.towards(Start, p, reason)
	s.Container, s.Peers = p.have, w.peersOf(p.want)
	s.Hold = p.have == nil && p.want.RequiresReboot
	return s
}

// towards makes a step that brings a service to the target release.
func (w *work) towards(kind Kind, p *pair, reason string) Step {
	s := w.step(kind, "service "+p.name, reason)
	s.Service, s.ReleaseID, s.Commit = p.want, w.want.Release, w.want.Commit
	s.Records = []current.Record{w.record(p.want)}
	return s
}

func (w *work) peersOf(s *compose.Service) map[string]string {
	if s.PeerOf == "" {
		return nil
	}
	return map[string]string{s.PeerOf: w.peer(s.PeerOf)}
}

// fetch asks for the image of a service, after the old one went where the strategy wants that.
func (w *work) fetch(p *pair) {
	if p.want.Strategy == compose.DeleteThenDownload && p.have == nil && w.deleteOld(p) {
		return
	}
	s := w.imageStep(Fetch, p.want.Image, "image "+p.want.Image+" is not on the device")
	s.Service, s.Records = p.want, []current.Record{w.record(p.want)}
	if w.opts.Deltas && w.cur.Deltas {
		s.From = w.source(s.Records[0])
	}
	w.add(s)
}

func (w *work) deleteOld(p *pair) bool {
	deleting := false
	for _, r := range w.recordsOf(p.name) {
		if r.Name == p.want.Image || w.opts.Kept[r.Image()] {
			continue
		}
		s := w.imageStep(RemoveImage, r.Image(), "the strategy deletes the old image before the download")
		s.Records = []current.Record{r}
		w.add(s)
		deleting = true
	}
	return deleting
}

// replace exchanges a container that differs from its target, by the target's strategy.
func (w *work) replace(p *pair) {
	switch {
	case killsFirst(p.want.Strategy):
		w.killFirst(p, p.differs)
	case !p.want.ImageKnown:
		w.fetch(p)
		w.revive(p)
	case p.want.Strategy == compose.HandOver && !p.want.RequiresReboot && w.dependsOnBroken(p.have) == "":
		w.handOver(p)
	case w.hold != "":
		w.wait(p.name, "is replaced later: "+w.hold)
		w.revive(p)
	default:
		w.locked(w.takeDown(p, p.differs))
	}
}

// takeDown kills the container of a service. Its anonymous volumes stay for the next one, when that is of the
// same image: another image may bring other files for them, which a new volume gets.
func (w *work) takeDown(p *pair, reason string) Step {
	s := w.kill(p.have, reason)
	s.Keep = w.keeps(p)
	return s
}

func (w *work) keeps(p *pair) bool {
	if p.want == nil {
		return w.intermediate()
	}
	return p.want.Container.Doc.Image == p.have.ImageEngine
}

func (w *work) handOver(p *pair) {
	if why := w.notReady(p.want); why != "" {
		w.wait(p.name, why)
		w.revive(p)
		return
	}
	s := w.towards(HandOver, p, p.differs)
	s.Container, s.Peers, s.Keep = p.have, w.peersOf(p.want), w.keeps(p)
	w.locked(s)
}

// rename moves a container whose configuration did not change to the new release.
func (w *work) rename(p *pair) {
	if p.want.Strategy == compose.DownloadThenKill && w.hold != "" {
		w.wait(p.name, "moves to the release later: "+w.hold)
		w.revive(p)
		return
	}
	s := w.towards(Rename, p, p.stale)
	s.Container = p.have
	w.locked(s)
}

// run brings a container that is as wanted to its wanted run state (docs/spec/engine.md 5.5).
func (w *work) run(p *pair) {
	c := p.have
	switch {
	case !p.want.Running && c.Running:
		s := w.step(Stop, "service "+p.name, "the target does not want it to run")
		s.Container = c
		w.locked(s)
	case !p.want.Running || c.Running:
	case w.awaitsReboot(p.want, c):
		w.requireReboot(p)
	default:
		w.startAgain(p)
	}
}

// AwaitsReboot tells whether a container is to be started at the next boot only: it was made since this
// one. earlier are the containers (engine id) from before it (docs/spec/engine.md 5.6).
func AwaitsReboot(s *compose.Service, c *current.Container, earlier map[string]bool) bool {
	return s.RequiresReboot && s.Running && c.Status == "created" && !earlier[c.ID]
}

func (a *app) awaitsReboot(s *compose.Service, c *current.Container) bool {
	return AwaitsReboot(s, c, a.opts.Earlier)
}

func (w *work) requireReboot(p *pair) {
	if !w.opts.RebootRequired {
		w.add(w.towards(RequireReboot, p, "service "+p.name+" is to be started at the next boot"))
	}
}

// startAgain starts a container that is there and does not run, if there is a reason to.
func (w *work) startAgain(p *pair) {
	reason := w.startReason(p)
	if reason == "" {
		return
	}
	if why := w.notReady(p.want); why != "" {
		w.wait(p.name, why)
		if w.hold != "" {
			w.revive(p)
		}
		return
	}
	if network := w.cur.Stranded(p.have); network != "" {
		w.locked(w.takeDown(p, reason+", and network "+network+" was made again since"))
		return
	}
	w.add(w.start(p, reason))
}

// revive starts the container of a service that is replaced, renamed or removed only once the release can
// start: until then it runs as before, whoever let it end. What the engine cannot start stays for that time.
func (w *work) revive(p *pair) {
	c := p.have
	stopped, byUser := w.cur.Stopped(c)
	stopped = stopped && w.cur.Stops[c.ID].Replaced // and not because its release did not want it to run
	failed := c.Error != "" && c.Config.Doc.HostConfig.RestartPolicy.Name != "no"
	if c.Status != "exited" || byUser || !stopped && !failed || p.want != nil && !p.want.Running || w.cur.Stranded(c) != "" {
		return
	}
	why := c.Error
	if why == "" {
		why = "the agent stopped it"
	}
	s := w.step(Start, "service "+p.name, "it runs until the release can start, and it ended: "+why)
	s.Container = c
	w.add(s)
}

// startReason says why a container that does not run is to be started, empty when it is not. The agent
// starts a container once; afterwards the engine's restart policy owns it, and a user may stop it. But what
// the agent itself stopped for an update comes back when it is wanted again, and so does what the engine was
// to start by that policy and could not: a stop leaves no error.
func (w *work) startReason(p *pair) string {
	c := p.have
	stopped, byUser := w.cur.Stopped(c)
	switch {
	case byUser:
	case c.Status == "created" && c.Error != "":
		return "the container was never started: " + c.Error
	case c.Status == "created":
		return "the container was never started"
	case c.Status != "exited":
	case lostAddress(c.Error):
		return "its published address was not there yet: " + c.Error
	case c.Error != "" && p.want.Container.Doc.HostConfig.RestartPolicy.Name != "no":
		return "the engine could not start it: " + c.Error
	case stopped:
		return "the agent stopped it, and it is wanted again"
	}
	return ""
}

// lostAddress recognises a container that could not publish a port on an address that appears
// later; the engine gives no code for it (docs/spec/engine.md 5.5).
func lostAddress(message string) bool {
	m := strings.ToLower(message)
	return strings.Contains(m, "userland proxy") && strings.HasSuffix(m, "cannot assign requested address")
}
