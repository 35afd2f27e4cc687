package ledger

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/store"
)

// memory is durable storage that lasts as long as the test.
type memory map[string]any

func (m memory) Load(string, int, any) (bool, error) { return false, nil }

func (m memory) Save(name string, _ int, v any) error {
	m[name] = v
	return nil
}

// A stop is noted before it is asked for and outlives the agent, that of a user only until the device boots
// again. Those of containers that are gone or run again do not stay, and nothing is written without a change.
func TestRecordsOfStops(t *testing.T) {
	dir := t.TempDir()
	open := func(boot string) *Ledger {
		t.Helper()
		docs, err := store.Open(dir, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(docs, Reboot{ID: boot}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run := time.Unix(1000, 7).UTC()
	one, two := &current.Container{ID: "one", StartedAt: run}, &current.Container{ID: "two", StartedAt: run}
	see := func(b *Ledger, list ...*current.Container) {
		b.store.Update(func(s *current.State) *current.State { return s.WithListing(current.Listing{Containers: list}) })
	}
	want := func(b *Ledger, c *current.Container, stopped, user bool) {
		t.Helper()
		if s, u := b.store.Load().Stopped(c); s != stopped || u != user {
			t.Errorf("%s: stopped %v, by a user %v, want %v, %v", c.ID, s, u, stopped, user)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	b := open("boot1")
	see(b, one, two)
	must(b.Stopping(one, false, false))
	must(b.Stopping(two, true, false))
	for _, boot := range []string{"boot1", "boot2"} {
		b = open(boot)
		see(b, one, two)
		want(b, one, true, false)
		want(b, two, boot == "boot1", boot == "boot1")
	}
	b = open("boot1")
	docs := memory{}
	b.docs = docs
	see(b, one, two)
	must(b.Stopping(one, false, false))
	must(b.Starting("three"))
	if len(docs) != 0 {
		t.Error("a document was written without a change")
	}
	must(b.Starting("two"))
	want(b, two, false, false)
	must(b.DropVolume("none"))
	if docs[volumesDocument] != nil {
		t.Error("a document was written without a change")
	}
	one.Anonymous = map[string]string{"vol": "/data"}
	one.ServiceName, one.ImageEngine, one.AppID = "web", "image", 7
	must(b.KeepVolumes(one))
	if got := b.store.Load().Inherited(7, "web", "image"); got["/data"] != "vol" || docs[volumesDocument] == nil {
		t.Errorf("inherited is %v", got)
	}
	for _, got := range []map[string]string{b.store.Load().Inherited(8, "web", "image"), b.store.Load().Inherited(7, "db", "image"), b.store.Load().Inherited(7, "web", "other")} {
		if len(got) != 0 {
			t.Errorf("another container inherits %v", got)
		}
	}
	must(b.DropVolume("vol"))
	if len(b.store.Load().Anonymous) != 0 {
		t.Error("a volume that is gone is still known")
	}
	see(b, &current.Container{ID: "one", StartedAt: run.Add(time.Second)})
	must(b.Stopping(&current.Container{ID: "three", StartedAt: run}, false, false))
	if left := docs[stopsDocument].(map[string]current.Stop); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

// What the engine made otherwise outlives the agent as long as the object is there.
func TestRecordsOfWhatTheEngineAltered(t *testing.T) {
	dir := t.TempDir()
	open := func() *Ledger {
		t.Helper()
		docs, err := store.Open(dir, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(docs, Reboot{ID: "boot1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	see := func(b *Ledger, containers ...*current.Container) {
		b.store.Update(func(s *current.State) *current.State {
			return s.WithListing(current.Listing{Containers: containers, Networks: []*current.Network{{ID: "net"}}, Volumes: []*current.Volume{{Name: "vol"}}})
		})
	}
	want := func(b *Ledger, ids ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(b.store.Load().Altered)); !slices.Equal(got, ids) {
			t.Errorf("noted of %v, want %v", got, ids)
		}
	}
	b := open()
	see(b, &current.Container{ID: "one"}, &current.Container{ID: "two"})
	for _, id := range []string{"one", "two", "net", "vol"} {
		if err := b.SetAltered(id, compose.Altered{math.MaxUint64, 2}); err != nil {
			t.Fatal(err)
		}
	}
	b = open()
	want(b, "net", "one", "two", "vol")
	if got := b.store.Load().Altered["one"]; !slices.Equal(got, compose.Altered{math.MaxUint64, 2}) {
		t.Errorf("read back %v", got)
	}
	see(b, &current.Container{ID: "two"})
	if err := b.SetAltered("vol", nil); err != nil {
		t.Fatal(err)
	}
	want(b, "net", "two")
	want(open(), "net", "two")
}

// The image whose tag passed to another one stays recorded, under its engine id; of a name with a digest the newer
// record counts.
func TestRecordsOfATagThatMoved(t *testing.T) {
	b, err := Open(memory{}, Reboot{ID: "boot1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := func(ids ...string) {
		t.Helper()
		var got []string
		for key, r := range b.store.Load().Records {
			if key != r.Key() {
				t.Errorf("record %+v has the key %s", r, key)
			}
			got = append(got, r.Commit+" "+r.Image()+" "+r.EngineID)
		}
		if slices.Sort(got); !slices.Equal(got, ids) {
			t.Errorf("recorded %q, want %q", got, ids)
		}
	}
	add := func(name, commit, id string) {
		t.Helper()
		if err := b.AddImages([]current.Record{{Name: name, AppUUID: "u1", ServiceName: "web", Commit: commit, EngineID: id}}); err != nil {
			t.Fatal(err)
		}
	}
	add("t:latest", "c1", "one")
	add("t:latest", "c1", "two")
	want("c1 one one", "c1 t:latest two")
	add("t:latest", "c2", "three")
	want("c1 one one", "c1 two two", "c2 t:latest three")
	add("t:latest", "c2", "three")
	want("c1 one one", "c1 two two", "c2 t:latest three")
	b, _ = Open(memory{}, Reboot{ID: "boot1"}, nil)
	add("r@sha256:x", "c1", "one")
	add("r@sha256:x", "c2", "two")
	add("r@sha256:x", "c2", "three")
	want("c1 r@sha256:x one", "c2 r@sha256:x three")
}
