package update

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// shopLoop is a loop that knows app 7 with a service web, which has a container, and its resolved target.
func shopLoop() *loop {
	cur := current.Empty()
	cur.Synced = true
	cur.Containers = map[string]*current.Container{"c": {ID: "c", AppID: 7, AppUUID: "u", ServiceName: "web", Status: "created"}}
	web := &compose.Service{Name: "web", Running: true, ImageKnown: true}
	return &loop{
		cell: newCell(cur), resolve: &resolver{target: &target.State{}}, running: map[string]*task{}, actions: map[string]*action{},
		status:  status{apps: plan.Target{"u": {ID: 7, UUID: "u", Services: map[string]*compose.Service{"web": web}}}},
		backoff: newBackoff(time.Minute),
	}
}

func request7(kind plan.Kind) *request {
	return &request{kind: kind, appID: 7, service: "web", until: time.Now().Add(time.Hour), done: make(chan error, 1)}
}

// A release that is rejected is not brought up by a restart; what is there of the app can be started.
func TestRequestsForARejectedRelease(t *testing.T) {
	l := shopLoop()
	l.status.apps["u"].Rejected = "needs another board"
	if s, err := l.order(request7(plan.Restart)); err == nil || !strings.Contains(err.Error(), "needs another board") {
		t.Errorf("restart: step %v, %v", s, err)
	}
	if s, err := l.order(request7(plan.Start)); err != nil || s.Kind != plan.Start || s.Container == nil || s.Service != nil {
		t.Errorf("start: step %v, %v", s, err)
	}
}

// docs/spec/engine.md 5.6, docs/spec/device-api.md 2.12: what is to be started at the next boot only.
func TestRequestsForAServiceThatNeedsAReboot(t *testing.T) {
	l := shopLoop()
	l.status.apps["u"].Services["web"].RequiresReboot = true
	if s, err := l.order(request7(plan.Start)); err != nil || s.Kind != "" {
		t.Errorf("start: step %v, %v, want nothing to do", s, err)
	}
	if s, err := l.order(request7(plan.Restart)); err != nil || !s.Hold {
		t.Errorf("restart: step %v, hold %v, %v", s, s.Hold, err)
	}
	l.earlier = map[string]bool{"c": true}
	if s, err := l.order(request7(plan.Start)); err != nil || s.Kind != plan.Start {
		t.Errorf("start after the reboot: step %v, %v", s, err)
	}
}

// A request that came before the target is known waits for it, and not for ever.
func TestRequestBeforeTheTargetIsKnown(t *testing.T) {
	l := shopLoop()
	l.resolve.stale = true
	l.status.apps = nil
	r := request7(plan.Restart)
	l.requests = []*request{r}
	if next := l.serve(context.Background()); len(l.requests) != 1 || !next.Equal(r.until) {
		t.Fatalf("answered at once, or looked at again at %v", next)
	}
	r.until = time.Now()
	l.serve(context.Background())
	if len(l.requests) != 0 || <-r.done == nil {
		t.Fatal("no error after its time")
	}
}

// A step may take hours, such as a hand-over; nobody waits for it that long.
func TestRequestBehindALongStep(t *testing.T) {
	l := shopLoop()
	l.running["x"] = &task{step: plan.Step{Kind: plan.HandOver, Key: "x", AppID: 7, Service: l.status.apps["u"].Services["web"]}}
	r := request7(plan.Start)
	l.requests = []*request{r}
	if next := l.serve(context.Background()); len(l.requests) != 1 || next.IsZero() {
		t.Fatalf("answered at once, or looked at again at %v", next)
	}
	r.until = time.Now().Add(-stepPatience)
	l.serve(context.Background())
	locked := (*view.LockedError)(nil)
	if len(l.requests) != 0 || !errors.As(<-r.done, &locked) {
		t.Fatal("it waits on")
	}
}

func TestNoActionBeforeTheFirstTarget(t *testing.T) {
	l := shopLoop()
	l.resolve.target = nil
	if err := l.enter(7, &action{purge: true, done: make(chan error, 1)}); err != view.ErrNoTarget || len(l.actions) != 0 {
		t.Fatalf("%v, %d actions", err, len(l.actions))
	}
}

// docs/spec/engine.md 5.6: the reboot that the target needs passes the loop's own claim, and no user's lock.
func TestOwnRebootPassesTheOwnClaim(t *testing.T) {
	m, dir := lockable(t, &current.State{Listed: true, Containers: map[string]*current.Container{"a": {AppID: 7, ServiceName: "web"}}})
	m.loop.held = map[string]int{"u": 7}
	if err := m.exec.locks.take(context.Background(), 7, []string{"web"}, false); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := m.withAllLocks(short, false, false, func() error { return nil }); err == nil {
		t.Fatal("an action passed the claim of the loop")
	}
	ran := false
	if err := m.withAllLocks(context.Background(), false, true, func() error { ran = true; return nil }); err != nil || !ran || len(m.loop.held) != 0 {
		t.Fatalf("the own reboot: %v, ran %v, held %v", err, ran, m.loop.held)
	}
	users := filepath.Join(dir, "7/web/updates.lock")
	if err := os.WriteFile(users, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	locked := (*view.LockedError)(nil)
	if err := m.withAllLocks(context.Background(), false, true, func() error { return nil }); !errors.As(err, &locked) || !isThere(users) {
		t.Fatalf("a user's lock: %v", err)
	}
}

func TestSameFactsAreNoNews(t *testing.T) {
	l := shopLoop()
	l.resolve.facts = compose.Facts{UUID: "x"}
	s := plan.Step{Kind: plan.Fetch, Key: "image"}
	l.backoff.failed(s, time.Now())
	l.setFacts(compose.Facts{UUID: "x"})
	if l.backoff.until(s).IsZero() || l.resolve.stale {
		t.Error("the same facts end the back-off")
	}
	l.setFacts(compose.Facts{UUID: "y"})
	if !l.backoff.until(s).IsZero() || !l.resolve.stale {
		t.Error("other facts do not count")
	}
}

// unstored is a loop whose settings were not stored.
func unstored(t *testing.T, change func(*settings.Settings)) *loop {
	t.Helper()
	l := shopLoop()
	l.managed, l.log = true, zerolog.Nop()
	l.exec = &executor{local: &localMode{}}
	l.exec.local.noted.Store(&inventory{})
	have, _ := settings.Parse(nil)
	want := have
	change(&want)
	l.config.have, l.config.want = have, want
	l.config.changed = func(settings.Settings, bool) {}
	l.reboot = true // what asks for it succeeded
	c := plan.Configuration{Have: have, Want: want, Managed: true, Engine: true, Idle: true, RebootRequired: true}
	l.failed(plan.Configure(c)[0], errors.New("read-only file system"))
	return l
}

// Settings that cannot be stored hold up no app, with two exceptions: what is lost in another mode would be
// lost before it was noted, and a reboot would not bring them into effect.
func TestSettingsThatAreNotStored(t *testing.T) {
	l := unstored(t, func(s *settings.Settings) { s.PersistentLogging = !s.PersistentLogging; s.Delta = !s.Delta })
	if _, settled := l.configure(context.Background(), l.cell.load()); !settled || l.options().RebootRequired {
		t.Errorf("settled %v, reboot %v: apps go on, and no reboot", settled, l.options().RebootRequired)
	}
	if !l.config.have.Delta {
		t.Error("a setting that need not be stored is not in effect")
	}
	l = unstored(t, func(s *settings.Settings) { s.PollInterval += time.Minute; s.LocalMode = true })
	if _, settled := l.configure(context.Background(), l.cell.load()); settled {
		t.Error("apps go on before what there is was noted for the end of local mode")
	}
}

// The old container of a service that waits for its release begins no trial of that release.
func TestTrialDoesNotBeginWithTheOldContainer(t *testing.T) {
	l := shopLoop()
	l.log, l.trials = zerolog.Nop(), trials{}
	l.status.apps["u"].Commit = "c2"
	l.status.apps["u"].Services["web"].RollbackTimeout = time.Minute
	on := map[string]time.Time{"u": {}}
	old := plan.Step{Kind: plan.Start, AppUUID: "u", Container: l.cell.load().Containers["c"]}
	l.trials.begin(l, on, []plan.Step{{Kind: plan.Fetch, AppUUID: "u"}, old})
	if len(l.trials) != 0 {
		t.Error("it does")
	}
	old.Service = l.status.apps["u"].Services["web"]
	if l.trials.begin(l, on, []plan.Step{old}); len(l.trials) != 1 {
		t.Error("nor does it begin with a container of the release")
	}
}
