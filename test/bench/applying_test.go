package bench

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// fresh is how many new services one apply starts.
const fresh = 12

// applying compares the supervisor's way to a number of new services with a client that only makes
// the engine calls: the same network and volume, then every container created and started, all in
// parallel. Either is timed to the engine's last start event.
func applying(b *testing.B, t *table) {
	engine := harness.SharedEngine(b)
	s := harness.StartSupervisor(b, harness.Setup{Engine: engine})
	events := engine.Record(b)
	var ours, direct []time.Duration
	var documents []document
	for round := range rounds {
		target := shop(load(b, engine, fresh), "22222222222222222222222222222222", 2)
		begin := time.Now()
		s.PostTarget(target)
		s.WaitSettled(2 * time.Minute)
		ours = append(ours, lastStart(b, events, (round+1)*fresh).Sub(begin))
		if documents == nil {
			documents = read(b, engine)
		}
		s.Apply(harness.Target{}) // back to nothing, images too
	}
	s.Stop()
	load(b, engine, fresh)
	for round := range rounds {
		begin := time.Now()
		create(b, engine, documents)
		direct = append(direct, lastStart(b, events, (rounds+round+1)*fresh).Sub(begin))
		engine.Wipe(b)
	}
	t.note(fmt.Sprintf("%d new services: the supervisor", fresh), span(median(ours)))
	t.note(fmt.Sprintf("%d new services: the engine calls alone", fresh), span(median(direct)))
	add(t, "new services: the supervisor : the engine calls alone", float64(median(ours))/float64(median(direct)), 1.2, ratio)
}

// lastStart is when the engine started a container for the nth time since the events were recorded.
func lastStart(b *testing.B, events *harness.Recorder, n int) time.Time {
	b.Helper()
	var at time.Time
	harness.Until(b, 10*time.Second, "start events", func() error {
		started := events.Events("container", "start")
		if len(started) < n {
			return fmt.Errorf("%d of %d", len(started), n)
		}
		at = time.Unix(0, started[n-1].TimeNano)
		return nil
	})
	return at
}

// document is what creates one container again.
type document struct {
	name, network string
	body          map[string]any
}

// read takes the create documents off the containers that the supervisor made.
func read(b *testing.B, engine *harness.Engine) []document {
	b.Helper()
	all, err := engine.Supervised()
	if err != nil {
		b.Fatal(err)
	}
	var list []document
	for _, c := range all {
		var raw struct {
			Config          map[string]any
			HostConfig      map[string]any
			NetworkSettings struct{ Networks map[string]map[string]any }
		}
		engine.Must(b, http.MethodGet, "/containers/"+c.ID+"/json", nil, &raw)
		d := document{name: c.Name, network: c.HostConfig.NetworkMode, body: raw.Config}
		endpoints := map[string]any{}
		for name, endpoint := range raw.NetworkSettings.Networks {
			endpoints[name] = map[string]any{"Aliases": endpoint["Aliases"]}
		}
		d.body["HostConfig"], d.body["NetworkingConfig"] = raw.HostConfig, map[string]any{"EndpointsConfig": endpoints}
		list = append(list, d)
	}
	return list
}

// create makes the engine calls of one apply: networks and volumes first, then the containers side
// by side.
func create(b *testing.B, engine *harness.Engine, documents []document) {
	b.Helper()
	networks := map[string]bool{}
	for _, d := range documents {
		networks[d.network] = true
	}
	for name := range maps.Keys(networks) {
		engine.Must(b, http.MethodPost, "/networks/create", map[string]any{"Name": name, "CheckDuplicate": true}, nil)
	}
	engine.Must(b, http.MethodPost, "/volumes/create", map[string]any{"Name": "7_data"}, nil)
	var done sync.WaitGroup
	for _, d := range documents {
		done.Go(func() {
			var made struct{ Id string }
			if _, err := engine.Do(http.MethodPost, "/containers/create?name="+url.QueryEscape(d.name), d.body, &made); err != nil {
				b.Errorf("create %s: %v", d.name, err)
				return
			}
			if _, err := engine.Do(http.MethodPost, "/containers/"+made.Id+"/start", nil, nil); err != nil {
				b.Errorf("start %s: %v", d.name, err)
			}
		})
	}
	done.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

var perOperation = regexp.MustCompile(`BenchmarkReplan50\S*\s+\d+\s+(\d+) ns/op`)

// replanning runs the planner's own benchmark: one pass over 50 services with nothing to do.
func replanning(b *testing.B, t *table) {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkReplan50$", "./update/plan")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	found := perOperation.FindSubmatch(out)
	if found == nil {
		b.Fatalf("%v printed no result of BenchmarkReplan50:\n%s", cmd.Args, out)
	}
	took, err := time.ParseDuration(string(found[1]) + "ns")
	if err != nil {
		b.Fatal(err)
	}
	add(t, "planning with nothing to do, 50 services", took, 2*time.Millisecond, span)
}
