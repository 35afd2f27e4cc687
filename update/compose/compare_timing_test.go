package compose

import (
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// A pass without steps compares every service. 50 services should take well under 2 ms.
func BenchmarkCompareEqual(b *testing.B) {
	want, have := benchmarkPair(b)
	b.ReportAllocs()
	for b.Loop() {
		if len(compare(want, have)) != 0 {
			b.Fatal("differs")
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	app := benchmarkApp()
	facts, image := testFacts(), onDevice(doc.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Resolve(app, facts, image); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkApp() *target.App {
	return &target.App{UUID: "5aa0", ID: 31, Name: "shop", Release: &target.Release{Services: map[string]*target.Service{
		"web": {Name: "web", Environment: map[string]string{"A": "1", "B": "2"}, Composition: target.Map{
			"ports": []any{"80:80"}, "volumes": []any{"data:/data"}, "command": "sleep 600"}}}}}
}

func benchmarkPair(b *testing.B) (*Service, *Container) {
	out, err := Resolve(benchmarkApp(), testFacts(), onDevice(doc.Config{}))
	if err != nil {
		b.Fatal(err)
	}
	s := out.Services["web"]
	d := s.Container.Doc
	d.Cmd = append([]string{}, d.Cmd...)
	return s, &Container{Doc: d, Networks: canonicalEndpoints(s.Container.Networks)}
}
