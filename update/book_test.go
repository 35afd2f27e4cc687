package update

import (
	"testing"

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
	b, err := openBook(docs)
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
		r := &resolver{book: b, rolledBack: map[string]string{}}
		got := r.instead(a)
		if got.Release.Commit+" "+got.Release.Services["web"].Image != want || (r.rolledBack["u1"] != "") != (got != a) {
			t.Errorf("applied: %s %s, %q, want %s", got.Release.Commit, got.Release.Services["web"].Image, r.rolledBack["u1"], want)
		}
	}
	f(app("c2", "web:2"), "c1 web:1")
	f(app("c2", "web:3"), "c2 web:3")
	f(app("c3", "web:2"), "c3 web:2")
	if len(docs) == 0 {
		t.Error("nothing was made durable")
	}
}
