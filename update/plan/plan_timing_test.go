package plan

import (
	"fmt"
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

func BenchmarkReplan(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := benchWorld(n)
			tgt := w.resolve()
			for b.Loop() {
				Next(w.cur, tgt, w.opts)
			}
		})
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
