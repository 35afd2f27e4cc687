package bench

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// window is how long the idle supervisor is watched; the figures are scaled to a minute.
var window = flag.Duration("window", time.Minute, "how long to watch the idle supervisor")

func TestMain(m *testing.M) { harness.Main(m) }

// BenchmarkBudgets measures all budgets once; run it with -benchtime 1x.
func BenchmarkBudgets(b *testing.B) {
	var t table
	defer func() { fmt.Print("\n", t.String(), "\n") }() // also what was measured before a failure
	resident(b, &t)
	bodies(b, &t)
	connected(b, &t)
	applying(b, &t)
	replanning(b, &t)
	forwarding(b, &t)
}

// load puts n images of one content into the engine, each with a name of its own as services have them.
func load(b *testing.B, engine *harness.Engine, n int) []string {
	first := harness.ServerImage("bench/s00:1").LoadInto(b, engine)
	names := []string{first.Name}
	for len(names) < n {
		names = append(names, first.SameAs(fmt.Sprintf("bench/s%02d:1", len(names))).LoadInto(b, engine).Name)
	}
	return names
}

// shop is an app with one service for every image, each with a variable and the app's volume.
func shop(images []string, commit string, release int) harness.Target {
	app := harness.App{ID: 7, UUID: "5aa05aa05aa05aa05aa05aa05aa05aa0", Name: "shop", Commit: commit, Release: release,
		Volumes: map[string]any{"data": map[string]any{}}}
	for i, image := range images {
		app.Services = append(app.Services, harness.Service{ID: i + 1, ImageID: release*1000 + i, Name: fmt.Sprintf("s%02d", i), Image: image,
			Env: map[string]string{"VERSION": commit}, Compose: map[string]any{"volumes": []string{"data:/data"}}})
	}
	return harness.Target{Apps: []harness.App{app}}
}
