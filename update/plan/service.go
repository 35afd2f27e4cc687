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
	name          string
	want          *compose.Service
	have          *current.Container   // the newest container
	older         []*current.Container // further containers of the service
	replaceReason string               // why the container must be replaced, empty when it need not be
	renameReason  string               // why the container must be renamed, empty when it need not be
}

// due says that the pair still has container work towards its target.
func (p *pair) outdated() bool {
	return p.want != nil && (p.have == nil || p.replaceReason != "" || p.renameReason != "")
}

// pairs plans the containers of all services of the app.
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

// difference says why a container cannot stay as it is.
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

// dependsOnBroken says which network or volume of a container has to be replaced or removed.
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

func (pl *appPlanner) renameReason(p *pair) string {
	name := compose.ContainerName(p.want.Name, p.want.ImageID, pl.want.Release, pl.want.Commit)
	if p.have.Name == name {
		return ""
	}
	return "name: " + p.have.Name + " -> " + name
}

// peer is the engine id of the present container of a service, empty when there is none.
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

// refuse holds the release back when an image of it cannot run on this device: nothing is stopped
// for it (what an image says of itself is believed only where the image it replaces told the truth).
func (pl *appPlanner) checkPlatform() {
	for _, name := range pl.names {
		p := pl.pairs[name]
		if p.want == nil || p.have == nil || !p.want.ImageKnown {
			continue
		}
		fresh, present := pl.cur.Images[p.want.Container.Doc.Image], pl.cur.Images[p.have.ImageEngine]
		if fresh == nil || present == nil || !present.Fits(pl.cur.Machine) || fresh.Fits(pl.cur.Machine) {
			continue
		}
		pl.blocked = "image " + p.want.Image + " is for " + fresh.Platform() + ", which does not run on " + pl.cur.Machine
		s := pl.step(Wait, "platform", "the release is refused: "+pl.blocked)
		s.Fault = true
		pl.add(s)
		pl.wrongPlatform = true
		return
	}
}

// save records an image that is on the device for a service that has no record of it, or whose tag names
// it since.
func (pl *appPlanner) planSave(p *pair) {
	if p.want == nil || !p.want.ImageKnown || pl.intermediate() {
		return
	}
	r, reason := pl.record(p.want), "the image is here and not yet recorded for the service"
	id := p.want.Container.Doc.Image
	if known, is := pl.cur.Records[r.Key()]; is {
		if known.EngineID == id || strings.Contains(r.Name, "@") {
			return
		}
		reason = "the name stands for another image now"
	}
	r.EngineID = id
	s := pl.imageStep(Save, p.want.Image, reason)
	s.Service, s.Records = p.want, []current.Record{r}
	pl.add(s)
}

// record describes the image of a target service, without the engine's id for it.
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

// retire removes the container of a service that left the target: at once with the strategies that
// kill first, else when the new release can start (docs/spec/engine.md 6).
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

// install brings up a service that has no container.
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

// towards makes a step that brings a service to the target release.
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

// fetch asks for the image of a service, after the old one went where the strategy wants that.
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

// replace exchanges a container that differs from its target, by the target's strategy.
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

// takeDown kills the container of a service. Its anonymous volumes stay for the next one, when that is of the
// same image: another image may bring other files for them, which a new volume gets.
func (pl *appPlanner) killForUpdate(p *pair, reason string) Step {
	s := pl.killStep(p.have, reason)
	s.Keep = pl.keepsAnonymous(p)
	return s
}

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

// rename moves a container whose configuration did not change to the new release.
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

// run brings a container that is as wanted to its wanted run state (docs/spec/engine.md 5.5).
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

// AwaitsReboot tells whether a container is to be started at the next boot only: it was made since this
// one. earlier are the containers (engine id) from before it (docs/spec/engine.md 5.6).
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

// startAgain starts a container that is there and does not run, if there is a reason to.
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
		pl.addLocked(pl.killForUpdate(p, reason+", and network "+network+" was made again since"))
		return
	}
	pl.add(pl.startStep(p, reason))
}

// revive starts the container of a service that is replaced, renamed or removed only once the release can
// start: until then it runs as before, whoever let it end. What the engine cannot start stays for that time.
func (pl *appPlanner) keepOldRunning(p *pair) {
	c := p.have
	stopped, byUser := pl.cur.Stopped(c)
	stopped = stopped && pl.cur.Stops[c.ID].Replaced // and not because its release did not want it to run
	failed := c.Error != "" && c.Config.Doc.HostConfig.RestartPolicy.Name != "no"
	if c.Status != "exited" || byUser || !stopped && !failed || p.want != nil && !p.want.Running || pl.cur.Stranded(c) != "" {
		return
	}
	why := c.Error
	if why == "" {
		why = "the agent stopped it"
	}
	s := pl.step(Start, "service "+p.name, "it runs until the release can start, and it ended: "+why)
	s.Container = c
	pl.add(s)
}

// startReason says why a container that does not run is to be started, empty when it is not. The agent
// starts a container once; afterwards the engine's restart policy owns it, and a user may stop it. But what
// the agent itself stopped for an update comes back when it is wanted again, and so does what the engine was
// to start by that policy and could not: a stop leaves no error.
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
