package compose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// recording is a target and the containers that an engine 20.10.24 showed after their creation and start. In
// original.json the original supervisor's documents created the containers.
type recording struct {
	Target   target.Release
	Images   map[string]*doc.Image
	Created  map[string]*doc.Container
	Started  map[string]*doc.Container
	IDs      map[string]string // containers, by service
	Networks map[string]*doc.Network
	Volumes  map[string]*doc.Volume
}

func readRecording(t *testing.T, path string) *recording {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// Conformance 28 to 33: a container shows no difference from its target before and after the start, and can be created
// again from its inspection.
func TestEngineRecordings(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) < 7 {
		t.Fatalf("recordings %q, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { checkRecording(t, readRecording(t, path)) })
	}
}

func checkRecording(t *testing.T, r *recording) {
	app := &target.App{UUID: "5aa0", ID: 31, Name: "shop", Class: "fleet", Release: &r.Target}
	out, err := Resolve(app, testFacts(), func(ref string) *doc.Image { return r.Images[ref] })
	if err != nil {
		t.Fatal(err)
	}
	out.Networks[SupervisorNetworkName] = SupervisorNetwork()
	for name, want := range out.Networks {
		if diff := CompareNetwork(want, ReadNetwork(r.Networks[name])); len(diff) != 0 {
			t.Errorf("network %s: %v", name, diff)
		}
	}
	for name, want := range out.Volumes {
		if diff := CompareVolume(want, ReadVolume(r.Volumes[name])); len(diff) != 0 {
			t.Errorf("volume %s: %v", name, diff)
		}
	}
	peerID := func(service string) string { return r.IDs[service] }
	for name, want := range out.Services {
		for _, c := range []*doc.Container{r.Created[name], r.Started[name]} {
			have := ReadContainer(c)
			if diff := Compare(want, have, peerID, Capabilities{}); len(diff) != 0 {
				t.Errorf("service %s: %v", name, diff)
			}
			checkFromContainer(t, want, have, c, r)
		}
	}
}

func checkFromContainer(t *testing.T, want *Service, have *Container, c *doc.Container, r *recording) {
	t.Helper()
	serviceOf := func(id string) string {
		for service, known := range r.IDs {
			if id == known {
				return service
			}
		}
		return ""
	}
	again := FromContainer(have, c.Config.Env, serviceOf)
	peerID := func(service string) string { return r.IDs[service] }
	if diff := Compare(again, have, peerID, Capabilities{}); len(diff) != 0 {
		t.Errorf("service %s made again: %v", want.Name, diff)
	}
	a, err := CreateBody(again, peerID)
	if err != nil {
		t.Fatal(err)
	}
	want.AtCreate = again.AtCreate // the device may have had another name
	b, err := CreateBody(want, peerID)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.Env, b.Env) || again.Name != want.Name || again.ID != want.ID || again.PeerOf != want.PeerOf || len(again.AtCreate) != 2 {
		t.Errorf("service %s made again: %+v", want.Name, again)
	}
	// the engine adds the hostname as an alias at the start, so there may be more aliases
	if diff := compareEndpoints(again.Container.Networks, want.Container.Networks); len(diff) != 0 || len(Secondary(again)) != len(Secondary(want)) {
		t.Errorf("service %s made again: %v", want.Name, diff)
	}
}
