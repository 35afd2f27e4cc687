package plan

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// draw makes a random release of app u1 or u2: services, images, variables, networks, volumes,
// strategies and dependencies.
func draw(r *rand.Rand, w *world, uuid string, id int) {
	a := w.app(uuid, id, fmt.Sprintf("c%d", r.Intn(4)))
	strategies := []string{"", "download-then-kill", "kill-then-download", "delete-then-download", "hand-over"}
	for i := range r.Intn(5) {
		name := fmt.Sprintf("s%d", i)
		c := target.Map{}
		if r.Intn(2) == 0 && i > 0 {
			c["depends_on"] = []any{fmt.Sprintf("s%d", r.Intn(i))}
		}
		if r.Intn(2) == 0 {
			c["volumes"] = []any{"data:/data"}
			a.Release.Volumes["data"] = target.Map{}
		}
		if r.Intn(3) == 0 {
			c["networks"] = []any{"back"}
			a.Release.Networks["back"] = target.Map{"internal": r.Intn(2) == 0}
		}
		s := service(name, fmt.Sprintf("%s:%d", name, r.Intn(3)), c)
		s.Running = r.Intn(6) > 0
		s.ImageID = r.Intn(3)
		s.Environment["V"] = fmt.Sprint(r.Intn(3))
		s.Labels["io.balena.update.strategy"] = strategies[r.Intn(len(strategies))]
		a.Release.Services[name] = s
	}
	for name, s := range a.Release.Services { // a dependency may only name what is there
		if deps, ok := s.Composition["depends_on"].([]any); ok && a.Release.Services[deps[0].(string)] == nil {
			delete(a.Release.Services[name].Composition, "depends_on")
		}
	}
}

// apply changes the states as the executor would change the engine, and fails on a forbidden step.
func (w *world) apply(t *testing.T, s Step) {
	t.Helper()
	_, held := w.opts.Held[s.AppUUID]
	switch s.Kind {
	case Look:
		for _, image := range s.Images {
			w.opts.Looked[image] = true
		}
	case Fetch:
		w.present(s.Image)
		w.record(s)
	case Save:
		w.record(s)
	case RemoveImage:
		for _, r := range s.Records {
			for _, c := range w.cur.Containers {
				if c.AppUUID == r.AppUUID && c.ImageEngine == r.EngineID && c.Commit == r.Commit && c.ServiceName == r.ServiceName {
					t.Fatalf("%v: container %s uses it", s, c.Name)
				}
			}
			delete(w.cur.Records, r.Key())
		}
		if !slices.ContainsFunc(slices.Collect(mapsValues(w.cur.Records)), func(r current.Record) bool { return r.Name == s.Image }) {
			delete(w.images, s.Image)
			delete(w.cur.Images, "sha256:"+s.Image)
		}
	case CreateVolume:
		w.cur.Volumes[s.Volume.Name] = &current.Volume{Name: s.Volume.Name, AppID: s.AppID, Supervised: true, Config: s.Volume}
	case RemoveVolume:
		if s.Object == "foreign" {
			t.Fatalf("%v touches what is not ours", s)
		}
		delete(w.cur.Volumes, s.Object)
	case CreateNetwork:
		w.network(s.Network, s.AppUUID, s.AppID)
	case RemoveNetwork:
		for _, id := range s.IDs {
			delete(w.cur.Networks, id)
		}
	case TakeLock:
		w.opts.Held[s.AppUUID] = s.AppID
	case ReleaseLock:
		delete(w.opts.Held, s.AppUUID)
	case Kill, Stop, HandOver, Rename:
		if !held {
			t.Fatalf("%v without the lock", s)
		}
		w.change(t, s)
	case Start:
		if s.Container == nil && !held {
			t.Fatalf("%v without the lock", s)
		}
		w.begin(t, s)
	case SetCommit:
		if s.Commit == "" {
			delete(w.cur.Commits, s.AppUUID)
		} else {
			w.cur.Commits[s.AppUUID] = s.Commit
		}
	}
}

func mapsValues[K comparable, V any](m map[K]V) func(func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func (w *world) record(s Step) {
	for _, r := range s.Records {
		r.EngineID = "sha256:" + s.Image
		w.cur.Records[r.Key()] = r
	}
}

func (w *world) change(t *testing.T, s Step) {
	t.Helper()
	switch s.Kind {
	case Kill:
		delete(w.cur.Containers, s.Container.ID)
	case Stop:
		c := *s.Container
		c.Status, c.Running = "exited", false
		w.cur.Containers[c.ID] = &c
	case Rename:
		c := *s.Container
		c.Name = compose.ContainerName(s.Service.Name, s.Service.ImageID, s.ReleaseID, s.Commit)
		c.Commit, c.ImageID, c.ReleaseID = s.Commit, s.Service.ImageID, s.ReleaseID
		w.cur.Containers[c.ID] = &c
	case HandOver:
		w.begin(t, s)
		delete(w.cur.Containers, s.Container.ID)
	}
}

func (w *world) begin(t *testing.T, s Step) {
	t.Helper()
	if w.cur.Images[s.Service.Container.Doc.Image] == nil {
		t.Fatalf("%v before its image is there", s)
	}
	if s.Kind == Start && s.Container != nil {
		c := *s.Container
		c.Status, c.Running = "running", true
		w.cur.Containers[c.ID] = &c
		return
	}
	status := "running"
	if !s.Service.Running {
		status = "created"
	}
	w.container(w.resolve()[s.AppUUID], s.Service, status)
}

// From any applied release the planner reaches any other in a bounded number of passes, in whatever order the steps of
// one pass run. Then no step is left. On the way no step touches foreign objects, changes a running container without
// the lock, or starts one before its image is on the device.
func TestPlansReachTheirTarget(t *testing.T) {
	seeds := int64(80)
	if raceDetector {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewSource(seed))
		w := newWorld(t)
		w.cur.Volumes["foreign"] = &current.Volume{Name: "foreign", Config: &compose.Volume{Name: "foreign"}}
		for round := range 3 {
			clear(w.target.Apps)
			draw(r, w, "u1", 1)
			if r.Intn(3) > 0 {
				draw(r, w, "u2", 2)
			}
			w.reach(t, r, seed, round)
		}
	}
}

func (w *world) reach(t *testing.T, r *rand.Rand, seed int64, round int) {
	t.Helper()
	for range 200 {
		steps := w.next()
		if again := w.next(); !reflect.DeepEqual(lines(steps), lines(again)) {
			t.Fatalf("seed %d: two plans of one state differ:\n%v\n%v", seed, steps, again)
		}
		if len(steps) == 0 {
			return
		}
		acts := slices.DeleteFunc(steps, func(s Step) bool { return s.Kind == Wait })
		if len(acts) == 0 {
			t.Fatalf("seed %d round %d: waits for ever: %v", seed, round, w.next())
		}
		if fetches := len(slices.DeleteFunc(slices.Clone(acts), func(s Step) bool { return s.Kind != Fetch })); fetches > 3 {
			t.Fatalf("seed %d: %d downloads at once", seed, fetches)
		}
		busy := make(map[string]bool) // steps with one key never run at once
		r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
		for _, s := range acts[:1+r.Intn(len(acts))] {
			if !busy[s.Key] {
				busy[s.Key] = true
				w.apply(t, s)
			}
		}
	}
	t.Fatalf("seed %d round %d: not there after 200 passes: %v", seed, round, w.next())
}

// A broken app changes no other app's steps.
func TestAppsDoNotInfluenceEachOther(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		w := newWorld(t)
		w.opts.MaxPulls = 100
		draw(r, w, "u1", 1)
		alone := w.next()
		draw(r, w, "u2", 2)
		var with []Step
		for _, s := range w.next() {
			if s.AppUUID != "u2" {
				with = append(with, s)
			}
		}
		if !reflect.DeepEqual(keys(alone), keys(with)) {
			t.Fatalf("seed %d: steps of u1 are %v alone and %v beside u2", seed, alone, with)
		}
	}
}

func keys(steps []Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, string(s.Kind)+" "+s.Key)
	}
	return out
}
