package desired

import (
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
)

// memory is durable storage that lasts as long as the test.
type memory map[string]any

func (m memory) Load(string, int, any) (bool, error) { return false, nil }

func (m memory) Save(name string, _ int, v any) error {
	m[name] = v
	return nil
}

// What the ledger keeps of a release is read back as the way back to it; a failed release is known by
// what the target says of the app, to the last word.
func TestWayBack(t *testing.T) {
	docs := memory{}
	b, err := ledger.Open(docs, ledger.Reboot{ID: "boot1"}, nil)
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
	if b.FailRelease("u1", app("c2", "web:2"), "sick") == nil {
		t.Error("a release was given up with no other to go back to")
	}
	if err := b.SetCommit("u1", "c1", app("c1", "web:1")); err != nil {
		t.Fatal(err)
	}
	if err := b.FailRelease("u1", app("c2", "web:2"), "sick"); err != nil {
		t.Fatal(err)
	}
	f := func(a *target.App, want string) {
		t.Helper()
		r := NewResolver(&target.State{Apps: map[string]*target.App{"u1": a}}, compose.Facts{}, nil, b, userlog.NewVoice(nil), zerolog.Nop())
		if images := r.NotInspected(current.Empty()); len(images) > 0 { // what an agent does first after its start
			t.Errorf("it wants %q", images)
		}
		got, why := r.applied(a)
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

// What was logged of an app goes with the app.
func TestLoggedOfAppsThatWent(t *testing.T) {
	l, err := ledger.Open(memory{}, ledger.Reboot{ID: "boot1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	both := map[string]*target.App{"aa": {UUID: "aa", ID: 1, Rejected: "one"}, "bb": {UUID: "bb", ID: 2, Rejected: "two"}}
	r := NewResolver(&target.State{Apps: both}, compose.Facts{}, nil, l, userlog.NewVoice(nil), zerolog.Nop())
	r.Apps(current.Empty())
	if r.RejectedSince("aa").IsZero() || r.RejectedSince("bb").IsZero() {
		t.Fatal("nothing was logged of a rejected app")
	}
	r.SetTarget(&target.State{Apps: map[string]*target.App{"bb": both["bb"]}})
	if !r.RejectedSince("aa").IsZero() || r.RejectedSince("bb").IsZero() {
		t.Errorf("remembered of %v", r.logged)
	}
}
