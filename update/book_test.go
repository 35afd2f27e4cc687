package update

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
	"resin-supervisor/update/target"
)

// memory is durable storage that lasts as long as the test.
type memory map[string]any

func (m memory) Load(string, int, any) (bool, error) { return false, nil }

func (m memory) Save(name string, _ int, v any) error {
	m[name] = v
	return nil
}

// What the book keeps of a release is read back as the way back to it; a failed release is known by
// what the target says of the app, to the last word.
func TestBookKnowsTheWayBack(t *testing.T) {
	docs := memory{}
	b, err := openBook(docs, "boot1")
	if err != nil {
		t.Fatal(err)
	}
	app := func(commit, image string) *target.App {
		s, problems, err := target.DecodeV3Entry([]byte(`{"name":"d","config":{},"apps":{"u1":{"id":1,"name":"shop","releases":{"` +
			commit + `":{"id":7,"services":{"web":{"id":2,"image_id":3,"image":"` + image + `","environment":{},"labels":{}}}}}}}}`))
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		return s.Apps["u1"]
	}
	if b.fail("u1", app("c2", "web:2"), "sick") == nil {
		t.Error("a release was given up with no other to go back to")
	}
	if err := b.commit("u1", "c1", app("c1", "web:1")); err != nil {
		t.Fatal(err)
	}
	if err := b.fail("u1", app("c2", "web:2"), "sick"); err != nil {
		t.Fatal(err)
	}
	f := func(a *target.App, want string) {
		t.Helper()
		r := &resolver{book: b, target: &target.State{Apps: map[string]*target.App{"u1": a}}, stale: true}
		if images := r.wanted(current.Empty()); len(images) > 0 { // what an agent does first after its start
			t.Errorf("it wants %q", images)
		}
		got, why := r.instead(a)
		if got.Release.Commit+" "+got.Release.Services["web"].Image != want || (why != "") != (got != a) {
			t.Errorf("applied: %s %s, %q, want %s", got.Release.Commit, got.Release.Services["web"].Image, why, want)
		}
	}
	f(app("c2", "web:2"), "c1 web:1")
	f(app("c2", "web:3"), "c2 web:3")
	f(app("c3", "web:2"), "c3 web:2")
	if len(docs) == 0 {
		t.Error("nothing was made durable")
	}
}

// A stop is noted before it is asked for and outlives the agent, that of a user only until the device boots
// again. Those of containers that are gone or run again do not stay, and nothing is written without a change.
func TestBookOfStops(t *testing.T) {
	dir := t.TempDir()
	open := func(boot string) *book {
		t.Helper()
		docs, err := store.Open(dir, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		b, err := openBook(docs, boot)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run := time.Unix(1000, 7).UTC()
	one, two := &current.Container{ID: "one", StartedAt: run}, &current.Container{ID: "two", StartedAt: run}
	see := func(b *book, list ...*current.Container) {
		b.cell.fold(func(s *current.State) *current.State { return s.WithListing(current.Listing{Containers: list}) })
	}
	want := func(b *book, c *current.Container, stopped, user bool) {
		t.Helper()
		if s, u := b.cell.load().Stopped(c); s != stopped || u != user {
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
	must(b.stopping(one, false, false))
	must(b.stopping(two, true, false))
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
	must(b.stopping(one, false, false))
	must(b.starting("three"))
	if len(docs) != 0 {
		t.Error("a document was written without a change")
	}
	must(b.starting("two"))
	want(b, two, false, false)
	must(b.dropVolume("none"))
	if docs[volumesDocument] != nil {
		t.Error("a document was written without a change")
	}
	one.Anonymous = map[string]string{"vol": "/data"}
	one.ServiceName, one.ImageEngine, one.AppID = "web", "image", 7
	must(b.keepVolumes(one))
	if got := b.cell.load().Inherited(7, "web", "image"); got["/data"] != "vol" || docs[volumesDocument] == nil {
		t.Errorf("inherited is %v", got)
	}
	for _, got := range []map[string]string{b.cell.load().Inherited(8, "web", "image"), b.cell.load().Inherited(7, "db", "image"), b.cell.load().Inherited(7, "web", "other")} {
		if len(got) != 0 {
			t.Errorf("another container inherits %v", got)
		}
	}
	must(b.dropVolume("vol"))
	if len(b.cell.load().Anonymous) != 0 {
		t.Error("a volume that is gone is still known")
	}
	see(b, &current.Container{ID: "one", StartedAt: run.Add(time.Second)})
	must(b.stopping(&current.Container{ID: "three", StartedAt: run}, false, false))
	if left := docs[stopsDocument].(map[string]current.Stop); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

// What the engine made otherwise outlives the agent as long as the object is there.
func TestBookOfWhatTheEngineAltered(t *testing.T) {
	dir := t.TempDir()
	open := func() *book {
		t.Helper()
		docs, err := store.Open(dir, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		b, err := openBook(docs, "boot1")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	see := func(b *book, containers ...*current.Container) {
		b.cell.fold(func(s *current.State) *current.State {
			return s.WithListing(current.Listing{Containers: containers, Networks: []*current.Network{{ID: "net"}}, Volumes: []*current.Volume{{Name: "vol"}}})
		})
	}
	want := func(b *book, ids ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(b.cell.load().Altered)); !slices.Equal(got, ids) {
			t.Errorf("noted of %v, want %v", got, ids)
		}
	}
	b := open()
	see(b, &current.Container{ID: "one"}, &current.Container{ID: "two"})
	for _, id := range []string{"one", "two", "net", "vol"} {
		if err := b.alter(id, compose.Altered{math.MaxUint64, 2}); err != nil {
			t.Fatal(err)
		}
	}
	b = open()
	want(b, "net", "one", "two", "vol")
	if got := b.cell.load().Altered["one"]; !slices.Equal(got, compose.Altered{math.MaxUint64, 2}) {
		t.Errorf("read back %v", got)
	}
	see(b, &current.Container{ID: "two"})
	if err := b.alter("vol", nil); err != nil {
		t.Fatal(err)
	}
	want(b, "net", "two")
	want(open(), "net", "two")
}

// The image whose tag passed to another one stays recorded, under its engine id; of a name with a digest the newer
// record counts.
func TestBookOfATagThatMoved(t *testing.T) {
	b, err := openBook(memory{}, "boot1")
	if err != nil {
		t.Fatal(err)
	}
	want := func(ids ...string) {
		t.Helper()
		var got []string
		for key, r := range b.cell.load().Records {
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
		if err := b.add([]current.Record{{Name: name, AppUUID: "u1", ServiceName: "web", Commit: commit, EngineID: id}}); err != nil {
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
	b, _ = openBook(memory{}, "boot1")
	add("r@sha256:x", "c1", "one")
	add("r@sha256:x", "c2", "two")
	add("r@sha256:x", "c2", "three")
	want("c1 r@sha256:x one", "c2 r@sha256:x three")
}
