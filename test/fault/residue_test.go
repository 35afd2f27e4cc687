package fault_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// objects is everything the supervisor may have left on the engine and in its own documents.
type objects struct {
	containers, networks, volumes, images, records []string
}

// lookAround lists all objects, also those that nobody labelled.
func lookAround(t *testing.T, s *harness.Supervisor) objects {
	t.Helper()
	var o objects
	all, err := s.Engine.Containers()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		o.containers = append(o.containers, c.Name)
	}
	for _, n := range s.Engine.Networks(t) {
		o.networks = append(o.networks, n.Name)
	}
	o.volumes = slices.Sorted(maps.Keys(s.Engine.Volumes(t)))
	var images []struct{ RepoTags []string }
	s.Engine.Must(t, "GET", "/images/json", nil, &images)
	for _, i := range images {
		o.images = append(o.images, i.RepoTags...)
	}
	o.images = slices.DeleteFunc(o.images, func(name string) bool { return strings.Contains(name, "warm/") || strings.HasPrefix(name, "<none>") })
	o.records = records(t, s)
	for _, list := range [][]string{o.networks, o.images} {
		slices.Sort(list)
	}
	return o
}

// records are the images that the supervisor's own document says it owns, one line for each.
func records(t *testing.T, s *harness.Supervisor) []string {
	t.Helper()
	text := s.ReadFile("documents/images.json")
	if text == "" {
		return nil
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatalf("images.json: %v", err)
	}
	var lines []string
	for _, raw := range document {
		var list []struct{ Name, ServiceName, Commit string }
		if json.Unmarshal(raw, &list) != nil {
			continue // another part of the envelope
		}
		for _, r := range list {
			lines = append(lines, r.Name+" for "+r.ServiceName+" of "+r.Commit)
		}
	}
	slices.Sort(lines)
	return lines
}

// same fails the test when a list of objects is not as it is without faults.
func (o objects) same(t *testing.T, when string, want objects) {
	t.Helper()
	f := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s are %v, want %v", when, what, got, want)
		}
	}
	f("containers", o.containers, want.containers)
	f("networks", o.networks, want.networks)
	f("volumes", o.volumes, want.volumes)
	f("image names", o.images, want.images)
	f("image records", o.records, want.records)
}
