package plan

import (
	"maps"
	"slices"
	"strings"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// pair is one service with its container and its target. Either may be missing.
type pair struct {
	name          string
	want          *compose.Service
	have          *current.Container   // the newest container
	older         []*current.Container // further containers of the service
	replaceReason string               // why the container must be replaced, empty when it need not be
	renameReason  string               // why the container must be renamed, empty when it need not be
}

// outdated reports whether the container is missing or differs from its target.
func (p *pair) outdated() bool {
	return p.want != nil && (p.have == nil || p.replaceReason != "" || p.renameReason != "")
}

// planServices plans the containers of all services of the app.
func (pl *appPlanner) planServices() {
	pl.pairs = make(map[string]*pair, len(pl.names))
	for _, name := range pl.names {
		p := pl.pair(name)
		pl.pairs[name] = p
		if p.want != nil && !p.want.ImageKnown {
			pl.blocked = "image " + p.want.Image + " is not on the device"
			pl.missingImages[p.want.Image] = true
			pl.unchecked = pl.unchecked || !pl.opts.Looked[p.want.Image]
		}
	}
	pl.checkPlatform()
	for _, name := range pl.names {
		pl.planService(pl.pairs[name])
	}
}

// serviceNames lists the services that the app has or will have.
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

func (pl *appPlanner) pair(name string) *pair {
	p := &pair{name: name, want: pl.want.Services[name]}
	for _, c := range pl.containers[name] {
		switch {
		case c.Status == "dead":
		case p.have == nil:
			p.have = c
		default:
			p.older = append(p.older, c)
		}
	}
	if p.want != nil && p.have != nil {
		p.replaceReason = pl.replaceReason(p)
		p.renameReason = pl.renameReason(p)
	}
	return p
}

// replaceReason says why a container must be replaced, empty when it may stay.
func (pl *appPlanner) replaceReason(p *pair) string {
	if !p.want.ImageKnown {
		return "image " + p.want.Image + " is not on the device"
	}
	diff := compose.Compare(p.want, p.have.Config, pl.peer, compose.Capabilities{NoOomKill: pl.cur.NoOomKill})
	if diff = pl.cur.Altered[p.have.ID].Besides(diff); len(diff) > 0 {
		return compose.Describe(diff)
	}
	return pl.usesRemoved(p.have)
}

// usesRemoved says why a network or volume of a container must be removed first, empty when all may stay.
func (pl *appPlanner) usesRemoved(c *current.Container) string {
	if len(pl.toRemove) == 0 {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(c.Config.Networks)) {
		if why := pl.toRemove[name]; why != "" {
			return why
		}
	}
	for _, name := range c.VolumeNames {
		if why := pl.toRemove[name]; why != "" {
			return why
		}
	}
	return ""
}

// renameReason says why a container must be renamed: it has the name of another image or release.
func (pl *appPlanner) renameReason(p *pair) string {
	name := compose.ContainerName(p.want.Name, p.want.ImageID, pl.want.Release, pl.want.Commit)
	if p.have.Name == name {
		return ""
	}
	return "name: " + p.have.Name + " -> " + name
}

// peer is the engine id of a service's container, empty when it has none.
func (pl *appPlanner) peer(service string) string {
	for _, c := range pl.containers[service] {
		if c.Status != "dead" {
			return c.ID
		}
	}
	return ""
}

func (pl *appPlanner) planService(p *pair) {
	pl.planSave(p)
	for _, c := range p.older {
		pl.addLocked(pl.killStep(c, "a newer container of the service exists"))
	}
	switch {
	case p.want == nil && p.have == nil:
	case p.want == nil:
		pl.planRemoval(p)
	case p.have == nil:
		pl.planCreate(p)
	case p.replaceReason != "":
		pl.planReplace(p)
	case p.renameReason != "":
		pl.planRename(p)
	default:
		pl.planRunState(p)
	}
}

// checkPlatform refuses a release with an image that cannot run on this device, before anything is stopped for it.
// Some images name a wrong platform. So the platform counts only where the image in use names one that runs here.
func (pl *appPlanner) checkPlatform() {
	for _, name := range pl.names {
		p := pl.pairs[name]
		if p.want == nil || p.have == nil || !p.want.ImageKnown {
			continue
		}
		next, inUse := pl.cur.Images[p.want.Container.Doc.Image], pl.cur.Images[p.have.ImageEngine]
		if next == nil || inUse == nil || !inUse.Fits(pl.cur.Machine) || next.Fits(pl.cur.Machine) {
			continue
		}
		pl.blocked = "image " + p.want.Image + " is for " + next.Platform() + ", which does not run on " + pl.cur.Machine
		s := pl.step(Wait, "platform", "the release is refused: "+pl.blocked)
		s.Fault = true
		pl.add(s)
		pl.wrongPlatform = true
		return
	}
}

// planSave records an image that is on the device for a service that has no record of it. It also records the image
// that a tag names now, when the tag has moved.
func (pl *appPlanner) planSave(p *pair) {
	if p.want == nil || !p.want.ImageKnown || pl.intermediate() {
		return
	}
	r, reason := pl.record(p.want), "the image is on the device and not yet recorded for the service"
	id := p.want.Container.Doc.Image
	if known, found := pl.cur.Records[r.Key()]; found {
		if known.EngineID == id || strings.Contains(r.Name, "@") {
			return
		}
		reason = "the tag names another image now"
	}
	r.EngineID = id
	s := pl.imageStep(Save, p.want.Image, reason)
	s.Service, s.Records = p.want, []current.Record{r}
	pl.add(s)
}

// record is the record of a target service's image, without the engine id.
func (pl *appPlanner) record(s *compose.Service) current.Record {
	return current.Record{
		Name: s.Image, AppID: pl.id, AppUUID: pl.uuid, ServiceID: s.ID, ServiceName: s.Name,
		ImageID: s.ImageID, ReleaseID: pl.want.Release, Commit: pl.want.Commit,
	}
}

func (a *app) imageStep(kind Kind, image, reason string) Step {
	s := a.step(kind, "", reason)
	s.Key, s.Image = "image "+image, image
	return s
}

// planRemoval removes the container of a service that left the target: at once with the strategies that kill first,
// else when the new release can start (docs/spec/engine.md 6).
func (pl *appPlanner) planRemoval(p *pair) {
	reason := pl.reasonOr("service " + p.name + " is not in the target")
	strategy := p.have.Config.Strategy(pl.want.Strategy)
	switch {
	case killsFirst(strategy):
		pl.planKillFirst(p, reason)
	case pl.blocked == "":
		pl.addLocked(pl.killForUpdate(p, reason))
	default:
		pl.addWait(p.name, "is removed later: "+pl.blocked)
		pl.keepOldRunning(p)
	}
}

// planCreate creates and starts the container of a service that has none.
func (pl *appPlanner) planCreate(p *pair) {
	if !p.want.ImageKnown {
		pl.planFetch(p)
		return
	}
	if why := pl.waitReason(p.want); why != "" {
		pl.addWait(p.name, why)
		return
	}
	s := pl.startStep(p, pl.reasonOr("no container for service "+p.name+" of release "+pl.want.Commit))
	pl.addLocked(s)
}

func (pl *appPlanner) startStep(p *pair, reason string) Step {
	s := pl.serviceStep(Start, p, reason)
	s.Container, s.Peers = p.have, pl.peersOf(p.want)
	s.Hold = p.have == nil && p.want.RequiresReboot
	return s
}

// serviceStep makes a step that brings a service to the target release.
func (pl *appPlanner) serviceStep(kind Kind, p *pair, reason string) Step {
	s := pl.step(kind, "service "+p.name, reason)
	s.Service, s.ReleaseID, s.Commit = p.want, pl.want.Release, pl.want.Commit
	s.Records = []current.Record{pl.record(p.want)}
	return s
}

func (pl *appPlanner) peersOf(s *compose.Service) map[string]string {
	if s.PeerOf == "" {
		return nil
	}
	return map[string]string{s.PeerOf: pl.peer(s.PeerOf)}
}

// planFetch downloads the image of a service. With the strategy delete-then-download the old image is removed first.
func (pl *appPlanner) planFetch(p *pair) {
	if p.want.Strategy == compose.DeleteThenDownload && p.have == nil && pl.deleteOldImages(p) {
		return
	}
	s := pl.imageStep(Fetch, p.want.Image, "image "+p.want.Image+" is not on the device")
	s.Service, s.Records = p.want, []current.Record{pl.record(p.want)}
	if pl.opts.Deltas && pl.cur.Deltas {
		s.From = pl.deltaSource(s.Records[0])
	}
	pl.add(s)
}

// deleteOldImages removes all other images of a service, and reports whether there are any.
func (pl *appPlanner) deleteOldImages(p *pair) bool {
	deleting := false
	for _, r := range pl.recordsOf(p.name) {
		if r.Name == p.want.Image || pl.opts.Kept[r.Image()] {
			continue
		}
		s := pl.imageStep(RemoveImage, r.Image(), "the strategy deletes the old image before the download")
		s.Records = []current.Record{r}
		pl.add(s)
		deleting = true
	}
	return deleting
}

// planReplace replaces a container that differs from its target, by the target's strategy.
func (pl *appPlanner) planReplace(p *pair) {
	switch {
	case killsFirst(p.want.Strategy):
		pl.planKillFirst(p, p.replaceReason)
	case !p.want.ImageKnown:
		pl.planFetch(p)
		pl.keepOldRunning(p)
	case p.want.Strategy == compose.HandOver && !p.want.RequiresReboot && pl.usesRemoved(p.have) == "":
		pl.planHandOver(p)
	case pl.blocked != "":
		pl.addWait(p.name, "is replaced later: "+pl.blocked)
		pl.keepOldRunning(p)
	default:
		pl.addLocked(pl.killForUpdate(p, p.replaceReason))
	}
}

// killForUpdate kills the container of a service. The next container may inherit its anonymous volumes.
func (pl *appPlanner) killForUpdate(p *pair, reason string) Step {
	s := pl.killStep(p.have, reason)
	s.Keep = pl.keepsAnonymous(p)
	return s
}

// keepsAnonymous reports whether the next container of a service inherits the anonymous volumes. It must have the
// same image: another image may bring other files, which only a new volume gets.
func (pl *appPlanner) keepsAnonymous(p *pair) bool {
	if p.want == nil {
		return pl.intermediate()
	}
	return p.want.Container.Doc.Image == p.have.ImageEngine
}

func (pl *appPlanner) planHandOver(p *pair) {
	if why := pl.waitReason(p.want); why != "" {
		pl.addWait(p.name, why)
		pl.keepOldRunning(p)
		return
	}
	s := pl.serviceStep(HandOver, p, p.replaceReason)
	s.Container, s.Peers, s.Keep = p.have, pl.peersOf(p.want), pl.keepsAnonymous(p)
	pl.addLocked(s)
}

// planRename moves a container to the new release when its configuration did not change.
func (pl *appPlanner) planRename(p *pair) {
	if p.want.Strategy == compose.DownloadThenKill && pl.blocked != "" {
		pl.addWait(p.name, "moves to the release later: "+pl.blocked)
		pl.keepOldRunning(p)
		return
	}
	s := pl.serviceStep(Rename, p, p.renameReason)
	s.Container = p.have
	pl.addLocked(s)
}

// planRunState starts or stops a container that equals its target otherwise (docs/spec/engine.md 5.5).
func (pl *appPlanner) planRunState(p *pair) {
	c := p.have
	switch {
	case !p.want.Running && c.Running:
		s := pl.step(Stop, "service "+p.name, "the target does not want it to run")
		s.Container = c
		pl.addLocked(s)
	case !p.want.Running || c.Running:
	case pl.awaitsReboot(p.want, c):
		pl.planRequireReboot(p)
	default:
		pl.planStart(p)
	}
}

// AwaitsReboot reports whether a container must wait for the next boot to start, because it was created after the
// last one. earlier holds the containers (engine id) from before that boot (docs/spec/engine.md 5.6).
func AwaitsReboot(s *compose.Service, c *current.Container, earlier map[string]bool) bool {
	return s.RequiresReboot && s.Running && c.Status == "created" && !earlier[c.ID]
}

func (a *app) awaitsReboot(s *compose.Service, c *current.Container) bool {
	return AwaitsReboot(s, c, a.opts.Earlier)
}

func (pl *appPlanner) planRequireReboot(p *pair) {
	if !pl.opts.RebootRequired {
		pl.add(pl.serviceStep(RequireReboot, p, "service "+p.name+" is to be started at the next boot"))
	}
}

// planStart starts an existing container that does not run, if there is a reason to.
func (pl *appPlanner) planStart(p *pair) {
	reason := pl.startReason(p)
	if reason == "" {
		return
	}
	if why := pl.waitReason(p.want); why != "" {
		pl.addWait(p.name, why)
		if pl.blocked != "" {
			pl.keepOldRunning(p)
		}
		return
	}
	if network := pl.cur.Stranded(p.have); network != "" {
		pl.addLocked(pl.killForUpdate(p, reason+", and network "+network+" was replaced since it stopped"))
		return
	}
	pl.add(pl.startStep(p, reason))
}

// keepOldRunning starts the old container of a service again while the new release cannot start yet. It does so for
// a container that the agent stopped or that the engine failed to start, not for one that a user stopped.
func (pl *appPlanner) keepOldRunning(p *pair) {
	c := p.have
	stopped, byUser := pl.cur.Stopped(c)
	stopped = stopped && pl.cur.Stops[c.ID].Replaced // not when its own release did not want it to run
	failed := c.Error != "" && c.Config.Doc.HostConfig.RestartPolicy.Name != "no"
	if c.Status != "exited" || byUser || !stopped && !failed || p.want != nil && !p.want.Running || pl.cur.Stranded(c) != "" {
		return
	}
	why := c.Error
	if why == "" {
		why = "the agent stopped it"
	}
	s := pl.step(Start, "service "+p.name, "it must run until the release can start, and it stopped: "+why)
	s.Container = c
	pl.add(s)
}

// startReason says why a container that does not run must be started, empty when it must not. The agent starts a
// container once. After that the engine's restart policy decides, and a user may stop it. Two kinds of containers are
// started again: those that the agent stopped for an update and the target wants again, and those that the engine
// failed to start by the restart policy. The engine leaves an error in these, which a stop does not.
func (pl *appPlanner) startReason(p *pair) string {
	c := p.have
	stopped, byUser := pl.cur.Stopped(c)
	switch {
	case byUser:
	case c.Status == "created" && c.Error != "":
		return "the container was never started: " + c.Error
	case c.Status == "created":
		return "the container was never started"
	case c.Status != "exited":
	case lostAddress(c.Error):
		return "its published address did not exist yet: " + c.Error
	case c.Error != "" && p.want.Container.Doc.HostConfig.RestartPolicy.Name != "no":
		return "the engine could not start it: " + c.Error
	case stopped:
		return "the agent stopped it, and the target wants it again"
	}
	return ""
}

// lostAddress recognises the error of a container that could not publish a port because the host address did not
// exist yet. The engine has no code for it (docs/spec/engine.md 5.5).
func lostAddress(message string) bool {
	m := strings.ToLower(message)
	return strings.Contains(m, "userland proxy") && strings.HasSuffix(m, "cannot assign requested address")
}
