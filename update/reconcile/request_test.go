package reconcile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// shopLoop is a loop that knows app 7 with a service web, which has a container, and its resolved target.
func shopLoop(t testing.TB) *Loop {
	t.Helper()
	cur := current.Empty()
	cur.Synced = true
	cur.Containers = map[string]*current.Container{"c": {ID: "c", AppID: 7, AppUUID: "u", ServiceName: "web", Status: "created"}}
	web := &compose.Service{Name: "web", Running: true, ImageKnown: true}
	l := newLoop(t, parts{state: cur, target: &target.State{}, endpoint: "https://api.example.com", device: Device{Managed: true}})
	l.o.Resolver.Apps(cur)
	l.status.Apps = plan.Target{"u": {ID: 7, UUID: "u", Services: map[string]*compose.Service{"web": web}}}
	return l
}

func request7(kind plan.Kind) *request {
	r := newRequest(kind, 7, "web")
	r.until = time.Now().Add(time.Hour)
	return r
}

// A release that is rejected is not brought up by a restart; what is there of the app can be started.
func TestRequestsForARejectedRelease(t *testing.T) {
	l := shopLoop(t)
	l.status.Apps["u"].Rejected = "needs another board"
	if s, err := l.order(request7(plan.Restart)); err == nil || !strings.Contains(err.Error(), "needs another board") {
		t.Errorf("restart: step %v, %v", s, err)
	}
	if s, err := l.order(request7(plan.Start)); err != nil || s.Kind != plan.Start || s.Container == nil || s.Service != nil {
		t.Errorf("start: step %v, %v", s, err)
	}
}

// docs/spec/engine.md 5.6, docs/spec/device-api.md 2.12: what is to be started at the next boot only.
func TestRequestsForAServiceThatNeedsAReboot(t *testing.T) {
	l := shopLoop(t)
	l.status.Apps["u"].Services["web"].RequiresReboot = true
	if s, err := l.order(request7(plan.Start)); err != nil || s.Kind != "" {
		t.Errorf("start: step %v, %v, want nothing to do", s, err)
	}
	if s, err := l.order(request7(plan.Restart)); err != nil || !s.Hold {
		t.Errorf("restart: step %v, hold %v, %v", s, s.Hold, err)
	}
	l.memory.notStarted = map[string]bool{"c": true}
	if s, err := l.order(request7(plan.Start)); err != nil || s.Kind != plan.Start {
		t.Errorf("start after the reboot: step %v, %v", s, err)
	}
}

// A request that came before the target is known waits for it, and not for ever.
func TestRequestBeforeTheTargetIsKnown(t *testing.T) {
	l := shopLoop(t)
	l.o.Resolver.Invalidate()
	l.status.Apps = nil
	r := request7(plan.Restart)
	l.asked.requests = []*request{r}
	if next := l.serve(context.Background()); len(l.asked.requests) != 1 || !next.Equal(r.until) {
		t.Fatalf("answered at once, or looked at again at %v", next)
	}
	r.until = time.Now()
	l.serve(context.Background())
	if len(l.asked.requests) != 0 || <-r.done == nil {
		t.Fatal("no error after its time")
	}
}

// A step may take hours, such as a hand-over; nobody waits for it that long.
func TestRequestBehindALongStep(t *testing.T) {
	l := shopLoop(t)
	l.running["x"] = &task{step: plan.Step{Kind: plan.HandOver, Key: "x", AppID: 7, Service: l.status.Apps["u"].Services["web"]}}
	r := request7(plan.Start)
	l.asked.requests = []*request{r}
	if next := l.serve(context.Background()); len(l.asked.requests) != 1 || next.IsZero() {
		t.Fatalf("answered at once, or looked at again at %v", next)
	}
	r.until = time.Now().Add(-stepTimeout)
	l.serve(context.Background())
	locked := (*view.LockedError)(nil)
	if len(l.asked.requests) != 0 || !errors.As(<-r.done, &locked) {
		t.Fatal("it waits on")
	}
}

func TestNoActionBeforeTheFirstTarget(t *testing.T) {
	l := shopLoop(t)
	l.o.Resolver.SetTarget(nil)
	if err := l.enter(7, &action{purge: true, done: make(chan error, 1)}); err != view.ErrNoTarget || len(l.asked.actions) != 0 {
		t.Fatalf("%v, %d actions", err, len(l.asked.actions))
	}
}

// docs/spec/engine.md 5.6: the reboot that the target needs passes the loop's own claim, and no user's lock.
func TestOwnRebootPassesTheOwnClaim(t *testing.T) {
	l, dir := lockable(t, &current.State{Listed: true, Containers: map[string]*current.Container{"a": {AppID: 7, ServiceName: "web"}}})
	l.found.locked = map[string]int{"u": 7}
	if err := l.o.Locks.Take(context.Background(), 7, []string{"web"}, false); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := l.withAllLocks(short, false, false, func() error { return nil }); err == nil {
		t.Fatal("an action passed the claim of the loop")
	}
	ran := false
	if err := l.withAllLocks(context.Background(), false, true, func() error { ran = true; return nil }); err != nil || !ran || len(l.found.locked) != 0 {
		t.Fatalf("the own reboot: %v, ran %v, held %v", err, ran, l.found.locked)
	}
	users := filepath.Join(dir, "7/web/updates.lock")
	if err := os.WriteFile(users, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	locked := (*view.LockedError)(nil)
	if err := l.withAllLocks(context.Background(), false, true, func() error { return nil }); !errors.As(err, &locked) || !isThere(users) {
		t.Fatalf("a user's lock: %v", err)
	}
}

func TestSameFactsChangeNothing(t *testing.T) {
	l := shopLoop(t)
	cur := l.o.Store.Load()
	l.setFacts(compose.Facts{UUID: "x"})
	l.o.Resolver.Apps(cur)
	s := plan.Step{Kind: plan.Fetch, Key: "image"}
	l.backoff.Failed(s, time.Now())
	l.setFacts(compose.Facts{UUID: "x"})
	if l.backoff.Until(s).IsZero() || !l.o.Resolver.Resolved(cur) {
		t.Error("the same facts end the back-off")
	}
	l.setFacts(compose.Facts{UUID: "y"})
	if !l.backoff.Until(s).IsZero() || l.o.Resolver.Resolved(cur) {
		t.Error("other facts do not count")
	}
}

// unstored is a loop whose settings were not stored.
func unstored(t *testing.T, change func(*settings.Settings)) *Loop {
	t.Helper()
	l := shopLoop(t)
	have, _ := settings.Parse(nil)
	want := have
	change(&want)
	l.config.have, l.config.want = have, want
	l.found.rebootRequested = true // what asks for it succeeded
	c := plan.Configuration{Have: have, Want: want, Managed: true, Engine: true, Idle: true, RebootRequired: true}
	l.failed(plan.Configure(c)[0], errors.New("read-only file system"))
	return l
}

// Settings that cannot be stored hold up no app, with two exceptions: what is lost in another mode would be
// lost before it was noted, and a reboot would not bring them into effect.
func TestSettingsThatAreNotStored(t *testing.T) {
	l := unstored(t, func(s *settings.Settings) { s.PersistentLogging = !s.PersistentLogging; s.Delta = !s.Delta })
	if _, settled := l.configure(context.Background(), l.o.Store.Load()); !settled || l.options().RebootRequired {
		t.Errorf("settled %v, reboot %v: apps go on, and no reboot", settled, l.options().RebootRequired)
	}
	if !l.config.have.Delta {
		t.Error("a setting that need not be stored is not in effect")
	}
	l = unstored(t, func(s *settings.Settings) { s.PollInterval += time.Minute; s.LocalMode = true })
	if _, settled := l.configure(context.Background(), l.o.Store.Load()); settled {
		t.Error("apps go on before what there is was noted for the end of local mode")
	}
}

// The old container of a service that waits for its release does not open the health gate of that release.
func TestGateDoesNotOpenWithTheOldContainer(t *testing.T) {
	l := shopLoop(t)
	l.status.Apps["u"].Commit = "c2"
	l.status.Apps["u"].Services["web"].RollbackTimeout = time.Minute
	gated := map[string]time.Time{"u": {}}
	old := plan.Step{Kind: plan.Start, AppUUID: "u", Container: l.o.Store.Load().Containers["c"]}
	l.gates.begin(l, gated, []plan.Step{{Kind: plan.Fetch, AppUUID: "u"}, old})
	if len(l.gates) != 0 {
		t.Error("it does")
	}
	old.Service = l.status.Apps["u"].Services["web"]
	if l.gates.begin(l, gated, []plan.Step{old}); len(l.gates) != 1 {
		t.Error("it does not open with a container of the release either")
	}
}
