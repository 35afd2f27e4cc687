package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// raceDetector tells whether the tests run under the race detector. The planner has one goroutine, so tests that
// repeat or measure it do less there.
var raceDetector bool

// world builds the current and the target state of one app, "shop", from short descriptions.
type world struct {
	t      *testing.T
	cur    *current.State
	target *target.State
	opts   Options
	images map[string]*doc.Image
	born   time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, cur: current.Empty(), target: &target.State{Apps: map[string]*target.App{}},
		opts:   Options{Held: map[string]int{}, Leftover: map[int]bool{}, Busy: map[string]bool{}, Looked: map[string]bool{}, MaxPulls: 3, KeepVolumes: false},
		images: map[string]*doc.Image{}, born: time.Unix(1000, 0),
	}
	w.cur.Synced = true
	w.cur.Networks = map[string]*current.Network{}
	w.cur.Containers = map[string]*current.Container{}
	w.cur.Volumes = map[string]*current.Volume{}
	w.cur.Images = map[string]*current.Image{}
	w.cur.Records = map[string]current.Record{}
	w.cur.Commits = map[string]string{}
	w.network(compose.SupervisorNetwork(), "", 0)
	return w
}

func (w *world) network(n *compose.Network, uuid string, id int) {
	w.born = w.born.Add(time.Second)
	key := fmt.Sprintf("net%d", w.born.Unix())
	w.cur.Networks[key] = &current.Network{ID: key, Name: n.Name, AppID: id, AppUUID: uuid, Config: n}
}

// app puts an app with a release into the target.
func (w *world) app(uuid string, id int, commit string, services ...*target.Service) *target.App {
	a := &target.App{UUID: uuid, ID: id, Name: "shop", Class: "fleet", Release: &target.Release{
		Commit: commit, ID: 7, Services: map[string]*target.Service{}, Volumes: map[string]target.Map{}, Networks: map[string]target.Map{},
	}}
	for _, s := range services {
		a.Release.Services[s.Name] = s
	}
	w.target.Apps[uuid] = a
	return a
}

func service(name, image string, composition target.Map) *target.Service {
	return &target.Service{Name: name, ID: len(name), ImageID: 40, Image: image, Running: true,
		Environment: map[string]string{}, Labels: map[string]string{}, Composition: composition}
}

// present puts an image on the engine.
func (w *world) present(ref string) {
	id := "sha256:" + ref
	w.images[ref] = &doc.Image{Id: id, RepoTags: []string{ref}}
	w.cur.Images[id] = &current.Image{ID: id, Tags: []string{ref}, Doc: w.images[ref]}
}

func (w *world) resolve() Target {
	facts := &compose.Facts{UUID: "dev", ListenPort: 48484, Gateway: compose.SupervisorGateway, EngineSocket: "/var/run/docker.sock",
		ServiceKey: func(int, string) string { return "k" }}
	tgt := Target{}
	for uuid, a := range w.target.Apps {
		resolved, err := compose.Resolve(a, facts, func(ref string) *doc.Image { return w.images[ref] })
		if err != nil {
			w.t.Fatalf("resolve: %v", err)
		}
		tgt[uuid] = resolved
	}
	return tgt
}

// install makes the engine look as if the target were applied.
func (w *world) install(uuid string) {
	a := w.resolve()[uuid]
	for _, n := range a.Networks {
		w.network(n, uuid, a.ID)
	}
	for _, v := range a.Volumes {
		w.cur.Volumes[v.Name] = &current.Volume{Name: v.Name, AppID: a.ID, Supervised: true, Config: v}
	}
	for _, s := range a.Services {
		w.container(a, s, "running")
	}
	w.cur.Commits[uuid] = a.Commit
}

func (w *world) container(a *compose.App, s *compose.Service, status string) *current.Container {
	w.born = w.born.Add(time.Second)
	id := fmt.Sprintf("c%d-%s", w.born.Unix(), s.Name)
	c := &current.Container{
		ID: id, Name: compose.ContainerName(s.Name, s.ImageID, a.Release, a.Commit), AppID: a.ID, AppUUID: a.UUID,
		ServiceName: s.Name, ServiceID: s.ID, ImageID: s.ImageID, ReleaseID: a.Release, Commit: a.Commit,
		ImageEngine: s.Container.Doc.Image, Status: status, Running: status == "running", CreatedAt: w.born,
		VolumeNames: s.Container.NamedVolumes(), Config: s.Container,
	}
	w.cur.Containers[id] = c
	key := current.Record{Name: s.Image, AppID: a.ID, AppUUID: a.UUID, ServiceName: s.Name, Commit: a.Commit, EngineID: s.Container.Doc.Image}
	w.cur.Records[key.Key()] = key
	return c
}

func (w *world) next() []Step { return Next(w.cur, w.resolve(), w.opts) }

// lines are the steps without their reasons.
func lines(steps []Step) []string {
	var out []string
	for _, s := range steps {
		s.Reason = ""
		out = append(out, strings.TrimSpace(s.String()))
	}
	return out
}

func (w *world) want(want ...string) {
	w.t.Helper()
	steps := w.next()
	if got := lines(steps); !slices.Equal(got, want) {
		w.t.Errorf("steps:\n  %s\nwant:\n  %s\nreasons: %v", strings.Join(got, "\n  "), strings.Join(want, "\n  "), steps)
	}
}

func held(w *world) { w.opts.Held["u1"] = 1 }

// engine.md 44: networks, volumes and the download come first, then the lock, then the start; the
// commit is last.
func TestFirstInstall(t *testing.T) {
	w := newWorld(t)
	a := w.app("u1", 1, "c1", service("web", "web:1", target.Map{"volumes": []any{"data:/data"}}))
	a.Release.Volumes["data"] = target.Map{}
	w.want("create volume app shop volume 1_data", "create network app shop network u1_default", "fetch app shop service web image web:1")

	w.present("web:1")
	w.want("create volume app shop volume 1_data", "create network app shop network u1_default", "save image app shop service web image web:1", "wait app shop service web")

	resolved := w.resolve()["u1"]
	w.network(resolved.Networks["u1_default"], "u1", 1)
	w.cur.Volumes["1_data"] = &current.Volume{Name: "1_data", AppID: 1, Supervised: true, Config: resolved.Volumes["1_data"]}
	record := current.Record{Name: "web:1", AppUUID: "u1", ServiceName: "web", Commit: "c1", EngineID: "sha256:web:1"}
	w.cur.Records[record.Key()] = record
	w.want("take lock app shop")
	held(w)
	w.want("start app shop service web")
	w.container(resolved, resolved.Services["web"], "running")
	w.want("set commit app shop release c1", "release lock app shop")
	w.cur.Commits["u1"] = "c1"
	w.want("release lock app shop")
	delete(w.opts.Held, "u1")
	w.want()
}

func TestEqualStatesGiveNoSteps(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.present("db:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil), service("db", "db:1", target.Map{"depends_on": []any{"web"}}))
	w.install("u1")
	w.want()
}

// engine.md 62: nothing is planned for an app that was rejected, and others go on.
func TestRejectedAppIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	w.app("u1", 1, "c2", service("web", "web:2", nil)).Rejected = "why"
	w.app("u2", 2, "c1", service("web", "web:1", nil)).Name = "other"
	if got := lines(w.next()); !slices.Contains(got, "create network app other network u2_default") || strings.Contains(strings.Join(got, ";"), "app shop") {
		t.Errorf("steps: %q", got)
	}
}

func TestUnsyncedStatePlansNothing(t *testing.T) {
	w := newWorld(t)
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.cur.Synced = false
	w.want()
}

// upgrade replaces release c1 by c2 with another environment and image for web.
func upgrade(t *testing.T, labels map[string]string) *world {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	s := service("web", "web:2", nil)
	s.Labels = labels
	w.app("u1", 1, "c2", s)
	return w
}

// engine.md 64 to 66: whether the old container is stopped before or after the download.
func TestStrategies(t *testing.T) {
	f := func(strategy string, held bool, want ...string) {
		t.Helper()
		w := upgrade(t, map[string]string{"io.balena.update.strategy": strategy})
		w.opts.Looked["web:2"] = true
		if held {
			w.opts.Held["u1"] = 1
		}
		w.want(want...)
	}
	f("download-then-kill", false, "fetch app shop service web image web:2")
	f("no-such-strategy", false, "fetch app shop service web image web:2")
	f("kill-then-download", false, "take lock app shop")
	f("kill-then-download", true, "kill app shop service web")
	f("delete-then-download", true, "kill app shop service web")
	f("hand-over", false, "fetch app shop service web image web:2")
}

func TestDownloadThenKillWaitsForEveryImage(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.present("db:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil), service("db", "db:1", nil))
	w.install("u1")
	w.app("u1", 1, "c2", service("web", "web:2", nil), service("db", "db:2", nil))
	w.present("web:2")
	w.want("fetch app shop service db image db:2", "save image app shop service web image web:2", "wait app shop service web")
	w.present("db:2")
	held(w)
	w.want("save image app shop service db image db:2", "kill app shop service db", "save image app shop service web image web:2", "kill app shop service web")
}

func TestDeleteThenDownloadRemovesTheOldImageFirst(t *testing.T) {
	w := upgrade(t, map[string]string{"io.balena.update.strategy": "delete-then-download"})
	clear(w.cur.Containers)
	w.want("remove image app shop image web:1")
	clear(w.cur.Records)
	w.want("fetch app shop service web image web:2")
}

func TestHandOverStartsBesideTheOldOne(t *testing.T) {
	w := upgrade(t, map[string]string{"io.balena.update.strategy": "hand-over"})
	w.present("web:2")
	w.want("save image app shop service web image web:2", "take lock app shop")
	held(w)
	w.want("save image app shop service web image web:2", "handover app shop service web")
}

// engine.md 47: a release with the same configuration renames and restarts nothing.
func TestSameConfigurationIsRenamed(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	w.app("u1", 1, "c2", service("web", "web:1", nil))
	w.want("save image app shop service web image web:1", "take lock app shop")
	held(w)
	w.want("save image app shop service web image web:1", "rename app shop service web")
}

// engine.md 48: a changed variable replaces that service and no other, and says why.
func TestReasonNamesTheDifference(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.present("db:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil), service("db", "db:1", nil))
	w.install("u1")
	w.target.Apps["u1"].Release.Services["web"].Environment["MODE"] = "test"
	held(w)
	steps := w.next()
	if got := lines(steps); !slices.Equal(got, []string{"kill app shop service web"}) {
		t.Fatalf("steps: %q", got)
	}
	if steps[0].Reason != "environment MODE added" {
		t.Errorf("reason does not name the variable, or more than it: %q", steps[0].Reason)
	}
}

// engine.md 49: a removed service stops when the new release can start.
func TestRemovedServiceWaitsForImages(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.present("db:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil), service("db", "db:1", nil))
	w.install("u1")
	w.app("u1", 1, "c1", service("web", "web:2", nil))
	w.want("wait app shop service db", "fetch app shop service web image web:2")
	w.present("web:2")
	held(w)
	w.want("kill app shop service db", "save image app shop service web image web:2", "kill app shop service web")
}

// engine.md 50 to 52: the agent starts a container once.
func TestRunState(t *testing.T) {
	f := func(status string, running bool, message string, want ...string) {
		t.Helper()
		w := newWorld(t)
		w.present("web:1")
		s := service("web", "web:1", nil)
		s.Running = running
		w.app("u1", 1, "c1", s)
		w.install("u1")
		for _, c := range w.cur.Containers {
			c.Status, c.Running, c.Error = status, status == "running", message
		}
		held(w)
		w.want(want...)
	}
	release := "release lock app shop"
	f("running", true, "", release)
	f("exited", true, "", release)
	f("restarting", true, "", release)
	f("created", true, "", "start app shop service web")
	f("created", false, "", release)
	f("exited", false, "", release)
	f("running", false, "", "stop app shop service web")
	f("exited", true, "driver failed: Error starting userland proxy: listen tcp4 10.0.0.9:80: bind: cannot assign requested address", "start app shop service web")
	f("exited", true, "Address already in use", "start app shop service web")
	f("created", true, "Address already in use", "start app shop service web")
	f("exited", false, "Address already in use", release)
	f("running", true, "Address already in use", release)
	f("dead", true, "", "remove app shop service web", "start app shop service web")
}

// docs/spec/engine.md 5.5: a container that the agent stopped is started when the target wants it, one that a
// user stopped is not. A stop says nothing about a later run.
func TestStopsThatWereAskedFor(t *testing.T) {
	f := func(when string, run time.Duration, user, running bool, status string, want ...string) {
		t.Helper()
		w := newWorld(t)
		w.present("web:1")
		s := service("web", "web:1", nil)
		s.Running = running
		w.app("u1", 1, "c1", s)
		w.install("u1")
		for _, c := range w.cur.Containers {
			c.Status, c.Running, c.StartedAt = status, status == "running", w.born
			w.cur.Stops = map[string]current.Stop{c.ID: {Run: w.born.Add(run), User: user}}
		}
		t.Log(when)
		w.want(want...)
	}
	f("by the agent", 0, false, true, "exited", "start app shop service web")
	f("by the agent, and not wanted", 0, false, false, "exited")
	f("by the agent, which is still at it", 0, false, true, "running")
	f("by the agent, in an earlier run", -time.Minute, false, true, "exited")
	f("by a user", 0, true, true, "exited")
	f("by a user, before it was ever started", 0, true, true, "created")
	f("by a user, in an earlier run", -time.Minute, true, true, "exited")
}

// docs/spec/engine.md 5.5: a container must be started, and its network was replaced: the container is replaced
// too. One that runs, or must not be started, stays.
func TestNetworkMadeAgain(t *testing.T) {
	f := func(status, message, network string, want ...string) {
		t.Helper()
		w := newWorld(t)
		w.present("web:1")
		w.app("u1", 1, "c1", service("web", "web:1", nil))
		w.install("u1")
		for _, c := range w.cur.Containers {
			c.Status, c.Running, c.Error = status, status == "running", message
			c.Attached = map[string]string{compose.NetworkName("u1", "default"): network, "bridge": "another"}
			if network == "same" {
				for id, n := range w.cur.Networks {
					c.Attached[n.Name] = id
				}
			}
		}
		held(w)
		w.want(want...)
	}
	const lost, release, start = "network gone not found", "release lock app shop", "start app shop service web"
	f("exited", lost, "gone", "kill app shop service web")
	f("created", "", "gone", "kill app shop service web")
	f("exited", "", "gone", release)
	f("running", "", "gone", release)
	f("exited", lost, "same", start)
	f("created", "", "", start)
}

// docs/spec/engine.md 5.6
func TestRequiresReboot(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.present("web:1")
	a := w.app("u1", 1, "c1", service("web", "web:1", nil))
	a.Release.Services["web"].Labels["io.balena.update.requires-reboot"] = "1"
	w.install("u1")
	w.cur.Containers = map[string]*current.Container{}
	steps := w.next()
	if len(steps) != 1 || steps[0].Kind != Start || !steps[0].Hold {
		t.Fatalf("want a container that is created and held: %v", steps)
	}
	r := w.resolve()["u1"]
	c := w.container(r, r.Services["web"], "created")
	w.want("require reboot app shop service web")
	w.opts.RebootRequired = true
	w.want("release lock app shop")
	delete(w.opts.Held, "u1")
	w.want("reboot device")
	w.cur.Pulls = map[string]current.Pull{"x": {}}
	w.want()
	w.cur.Pulls, w.opts.Busy = nil, map[string]bool{"u2": true}
	w.want()
	w.opts.Busy, w.opts.Intermediate = nil, map[string]string{"u2": "a restart was asked for"}
	w.want()
	w.opts.Intermediate = nil
	w.opts.Earlier, w.opts.RebootRequired = map[string]bool{c.ID: true}, false
	held(w)
	w.want("start app shop service web")
	if w.next()[0].Hold {
		t.Error("it is held after the reboot")
	}
}

// engine.md 54: of several containers of a service the newest stays.
func TestOlderContainersGo(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	older := ""
	for id := range w.cur.Containers {
		older = id
	}
	a := w.resolve()["u1"]
	w.container(a, a.Services["web"], "running")
	held(w)
	steps := w.next()
	if len(steps) != 1 || steps[0].Kind != Kill || steps[0].Container.ID != older {
		t.Errorf("steps: %v, want the kill of %s", steps, older)
	}
}

// engine.md 40 and 5.7: an app that left the target is removed stage by stage.
func TestRemovalOfAnApp(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	a := w.app("u1", 1, "c1", service("web", "web:1", target.Map{"volumes": []any{"data:/data"}}))
	a.Release.Volumes["data"] = target.Map{}
	w.install("u1")
	delete(w.target.Apps, "u1")
	w.want("take lock app u1")
	held(w)
	w.want("kill app u1 service web")
	clear(w.cur.Containers)
	w.want("remove network app u1 network u1_default")
	for id, n := range w.cur.Networks {
		if n.AppUUID == "u1" {
			delete(w.cur.Networks, id)
		}
	}
	w.opts.KeepVolumes = true
	w.want("set commit app u1", "release lock app u1")
	w.opts.KeepVolumes = false
	w.want("remove volume app u1 volume 1_data")
	clear(w.cur.Volumes)
	w.want("set commit app u1", "release lock app u1")
	delete(w.opts.Held, "u1")
	clear(w.cur.Commits)
	w.want("remove image app u1 image web:1")
}

// engine.md 41 and 42: foreign objects stay, but unlabelled volumes of a known app count as ours.
func TestForeignObjects(t *testing.T) {
	w := newWorld(t)
	w.cur.Volumes["9_data"] = &current.Volume{Name: "9_data", AppID: 9, Config: &compose.Volume{Name: "9_data"}}
	w.want()
}

// engine.md 35: the supervisor network is created when it is missing, and replaced when it is wrong.
func TestSupervisorNetwork(t *testing.T) {
	w := newWorld(t)
	clear(w.cur.Networks)
	w.want("create network network supervisor0")
	wrong := compose.SupervisorNetwork()
	wrong.Doc.IPAM = doc.IPAM{Config: []doc.IPAMPool{{Subnet: "10.9.0.0/24"}}}
	w.network(wrong, "", 0)
	w.want("remove network network supervisor0")
}

// engine.md 37 to 39: a network that changes is removed after its users.
func TestNetworkIsReplacedAfterItsUsers(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	a := w.app("u1", 1, "c1", service("web", "web:1", target.Map{"networks": []any{"back"}}))
	a.Release.Networks["back"] = target.Map{}
	w.install("u1")
	a.Release.Networks["back"] = target.Map{"internal": true}
	held(w)
	w.want("kill app shop service web")
	clear(w.cur.Containers)
	w.want("remove network app shop network u1_back", "wait app shop service web")
}

// docs/spec/engine.md 4.2: a container, network or volume that the engine created otherwise than requested
// stays until the target changes.
func TestWhatTheEngineMadeOtherwiseStays(t *testing.T) {
	w := newWorld(t)
	w.present("img")
	web := service("web", "img", target.Map{"mem_limit": "64m", "networks": []any{"n"}, "volumes": []any{"v:/v"}})
	a := w.app("u1", 1, "c1", web)
	a.Release.Networks["n"], a.Release.Volumes["v"] = target.Map{"internal": true}, target.Map{"driver_opts": target.Map{"o": "1"}}
	w.install("u1")
	r := current.Record{Name: "img", AppUUID: "u1", ServiceName: "web", Commit: "c1", EngineID: "sha256:img"}
	w.cur.Records[r.Key()] = r
	held(w)
	made, asked := w.resolve()["u1"], w.resolve()["u1"]
	made.Services["web"].Container.Doc.HostConfig.Memory = 0
	made.Networks["u1_n"].Doc.Internal = false
	made.Volumes["1_v"].Doc.DriverOpts = nil
	altered := map[string]compose.Altered{}
	for id, c := range w.cur.Containers {
		c.Config = made.Services["web"].Container
		altered[id] = compose.Alter(compose.Compare(asked.Services["web"], c.Config, nil, compose.Capabilities{}))
	}
	for id, n := range w.cur.Networks {
		if n.Name == "u1_n" {
			n.Config = made.Networks[n.Name]
			altered[id] = compose.Alter(compose.CompareNetwork(asked.Networks[n.Name], n.Config))
		}
	}
	w.cur.Volumes["1_v"].Config = made.Volumes["1_v"]
	altered["1_v"] = compose.Alter(compose.CompareVolume(asked.Volumes["1_v"], made.Volumes["1_v"]))
	w.want("kill app shop service web")
	w.cur.Altered = altered
	w.want("release lock app shop")
	web.Composition["mem_limit"] = "128m"
	w.want("kill app shop service web")
}

func TestLockLeftoversGoWhenSettled(t *testing.T) {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c1", service("web", "web:1", nil))
	w.install("u1")
	w.opts.Leftover[1] = true
	w.want("sweep lock app shop")
}
