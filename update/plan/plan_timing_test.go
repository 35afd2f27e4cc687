package plan

import (
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

func BenchmarkReplan50(b *testing.B) {
	w := benchWorld(50)
	tgt := w.resolve()
	b.ReportAllocs()
	for b.Loop() {
		if steps := Next(w.cur, tgt, w.opts); len(steps) != 0 {
			b.Fatalf("%d steps for an applied target", len(steps))
		}
	}
}

// situations are the kinds of work that every service of a world may need.
var situations = []struct {
	name    string
	prepare func(w *world)
}{
	{"nothing to do", func(*world) {}},
	{"another release", func(w *world) { w.target.Apps["u1"].Release.Commit = "c2" }},
	{"another release, locked", func(w *world) { w.target.Apps["u1"].Release.Commit = "c2"; held(w) }},
	{"nothing there", func(w *world) { w.cur.Containers = nil; held(w) }},
	{"other images", func(w *world) { otherImages(w, "") }},
	{"other images, the old ones first", func(w *world) {
		otherImages(w, "delete-then-download")
		w.cur.Containers = nil
		held(w)
	}},
	{"removal", func(w *world) { delete(w.target.Apps, "u1") }},
	{"other images, each service stopped first", func(w *world) { otherImages(w, "kill-then-download"); held(w) }},
	{"a chain of dependencies", func(w *world) {
		all := w.target.Apps["u1"].Release.Services
		for i := range len(all) - 1 {
			all[fmt.Sprintf("s%04d", i)].Composition["depends_on"] = []any{fmt.Sprintf("s%04d", i+1)}
		}
		w.cur.Containers = nil
		held(w)
	}},
	{"a volume and a network of each service change", func(w *world) {
		release := w.target.Apps["u1"].Release
		for name, s := range release.Services {
			s.Composition["volumes"], s.Composition["networks"] = []any{name + ":/data"}, []any{name}
			release.Volumes[name], release.Networks[name] = target.Map{}, target.Map{}
		}
		w.cur.Containers = map[string]*current.Container{}
		w.install("u1")
		for name := range release.Services {
			release.Volumes[name], release.Networks[name] = target.Map{"labels": target.Map{"a": "b"}}, target.Map{"labels": target.Map{"a": "b"}}
		}
		held(w)
	}},
	{"anonymous volumes are left", func(w *world) {
		w.cur.Anonymous = map[string]current.Anonymous{}
		for name := range w.target.Apps["u1"].Release.Services {
			w.cur.Anonymous["left-"+name] = current.Anonymous{AppID: 1, Service: name, Path: "/x"}
		}
	}},
	{"one image of all, recorded for another release", func(w *world) {
		for key, r := range w.cur.Records {
			delete(w.cur.Records, key)
			r.EngineID, r.Commit = "sha256:one", "c0"
			w.cur.Records[r.Key()] = r
		}
		for _, c := range w.cur.Containers {
			c.ImageEngine = "sha256:one"
		}
		for _, s := range w.target.Apps["u1"].Release.Services {
			s.Image = "one:1"
		}
	}},
	{"an app of each service, nothing there", func(w *world) {
		all := w.target.Apps["u1"].Release.Services
		delete(w.target.Apps, "u1")
		w.opts.Deltas, w.cur.Deltas = true, true
		for _, name := range slices.Sorted(maps.Keys(all)) {
			s := all[name]
			s.Image = name + ":2"
			s.Labels = map[string]string{"io.balena.features.supervisor-api": "1"}
			w.app("u-"+name, 2+len(w.target.Apps), "c1", s)
		}
		w.cur.Containers = nil
	}},
}

func otherImages(w *world, strategy string) {
	w.opts.Deltas, w.cur.Deltas = true, true
	w.target.Apps["u1"].Release.Commit = "c2"
	for _, s := range w.target.Apps["u1"].Release.Services {
		s.Image = s.Name + ":2"
		s.Labels = map[string]string{"io.balena.update.strategy": strategy}
	}
}

// The time of one plan for 10, 100 and 1000 services: ns/service stays the same.
func BenchmarkPlan(b *testing.B) {
	for _, s := range situations {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprint(s.name, "/", n), func(b *testing.B) {
				w := benchWorld(n)
				s.prepare(w)
				tgt := w.resolve()
				for b.Loop() {
					Next(w.cur, tgt, w.opts)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/service")
			})
		}
	}
}

// The processor time of one service in a plan of 1000 services, relative to a plan of 10: about 1.
func BenchmarkGrowth(b *testing.B) {
	for _, s := range situations {
		b.Run(s.name, func(b *testing.B) {
			var spent [2]time.Duration
			var plans [2]func()
			for i, n := range []int{10, 1000} {
				w := benchWorld(n)
				s.prepare(w)
				tgt := w.resolve()
				plans[i] = func() { Next(w.cur, tgt, w.opts) }
			}
			for b.Loop() {
				for i, times := range []int{100, 1} {
					before := processorTime(b)
					for range times {
						plans[i]()
					}
					spent[i] += processorTime(b) - before
				}
			}
			b.ReportMetric(spent[1].Seconds()/spent[0].Seconds(), "times-as-dear")
		})
	}
}

// processorTime is the processor time that this process has used.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchWorld(n int) *world {
	w := newWorld(&testing.T{})
	var services []*target.Service
	for i := range n {
		name := fmt.Sprintf("s%04d", i)
		w.present(name + ":1")
		services = append(services, service(name, name+":1", target.Map{"ports": []any{"80"}, "volumes": []any{"data:/data"}}))
	}
	w.app("u1", 1, "c1", services...)
	w.install("u1")
	return w
}

// The memory of planning grows with the number of services, not with its square: ten times the services may take
// fifteen times the memory, for each kind of work.
func TestPlanningGrowsLinearly(t *testing.T) {
	if raceDetector {
		t.Skip("what the planner allocates does not depend on the race detector")
	}
	for _, s := range situations {
		cost := func(n int) float64 {
			w := benchWorld(n)
			s.prepare(w)
			tgt := w.resolve()
			return allocated(func() { Next(w.cur, tgt, w.opts) }) / float64(n)
		}
		few, many := cost(60), cost(600)
		t.Logf("%s: %.0f bytes for each of 60 services, %.0f for each of 600", s.name, few, many)
		if many > 1.5*few {
			t.Errorf("%s: %.0f bytes for each of 60 services, but %.0f for each of 600", s.name, few, many)
		}
	}
}

// allocated is how many bytes f allocates, the smallest of several runs.
func allocated(f func()) float64 {
	least := math.Inf(1)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}
