package plan

import (
	"fmt"
	"math"
	"runtime"
	"testing"

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

// situations are what there may be to do for every service of a world.
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
}

func otherImages(w *world, strategy string) {
	w.opts.Deltas, w.cur.Deltas = true, true
	w.target.Apps["u1"].Release.Commit = "c2"
	for _, s := range w.target.Apps["u1"].Release.Services {
		s.Image = s.Name + ":2"
		s.Labels = map[string]string{"io.balena.update.strategy": strategy}
	}
}

// How long one plan takes, for 10, 100 and 1000 services: ns/service stays the same.
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

// Planning grows with the services, not with their square: ten times as many may cost ten times the
// memory and half as much again, whatever there is to do.
func TestPlanningGrowsLinearly(t *testing.T) {
	for _, s := range situations {
		cost := func(n int) float64 {
			w := benchWorld(n)
			s.prepare(w)
			tgt := w.resolve()
			return allocated(func() { Next(w.cur, tgt, w.opts) }) / float64(n)
		}
		few, many := cost(100), cost(1000)
		t.Logf("%s: %.0f bytes for each of 100 services, %.0f for each of 1000", s.name, few, many)
		if many > 1.5*few {
			t.Errorf("%s: %.0f bytes for each of 100 services, but %.0f for each of 1000", s.name, few, many)
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
