package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// claimTimeout is how long an action waits for another one that works on the same app (docs/spec/device-api.md 1.10).
const claimTimeout = 10 * time.Second

// stepTimeout is how much longer an action waits for a step on its service: on a small board a start takes seconds, and
// a hand-over may take hours.
const stepTimeout = 50 * time.Second

// request is what the API wants done to one service or volume. The loop makes a step of it when no other step is in the
// way, from what it knows then: the caller may have waited for an update that changed everything.
type request struct {
	kind   plan.Kind // Start, Stop, Restart, RemoveVolume
	appID  int
	object string     // service, or engine name of the volume
	until  time.Time  // how long it waits for the target to be known, and a Start for the container of an update
	begun  bool       // its step is under way
	done   chan error // takes one result
}

// locking tells whether the caller holds the update locks of the app.
func (r *request) locking() bool { return r.kind == plan.Stop || r.kind == plan.Restart }

// StartService starts the container of a service unless the target does not want it to run
// (docs/spec/device-api.md 2.12). It takes no lock. A container whose network was made again since is replaced.
func (l *Loop) StartService(ctx context.Context, appID int, service string) error {
	return l.ask(ctx, plan.Start, appID, service)
}

// StopService stops the container of a service and keeps it. It returns when the container has
// stopped; the error is a *view.LockedError when a lock forbids it.
func (l *Loop) StopService(ctx context.Context, appID int, service string, force bool) error {
	return l.withLock(ctx, appID, force, func() error { return l.ask(ctx, plan.Stop, appID, service) })
}

// RestartService removes the container of a service and creates and starts it again from the target
// (docs/spec/device-api.md 2.16). Errors are those of StopService.
func (l *Loop) RestartService(ctx context.Context, appID int, service string, force bool) error {
	return l.withLock(ctx, appID, force, func() error { return l.ask(ctx, plan.Restart, appID, service) })
}

// ask hands a request for a service to the loop and waits for the result.
func (l *Loop) ask(ctx context.Context, kind plan.Kind, appID int, service string) error {
	r := newRequest(kind, appID, service)
	if err := l.call(ctx, func() { l.asked.requests = append(l.asked.requests, r) }); err != nil {
		return err
	}
	return <-r.done
}

func newRequest(kind plan.Kind, appID int, object string) *request {
	return &request{kind: kind, appID: appID, object: object, until: time.Now().Add(claimTimeout), done: make(chan error, 1)}
}

// serve begins the requests that nothing is in the way of. It returns when to look at the others again,
// the zero time when a step will end before.
func (l *Loop) serve(ctx context.Context) (next time.Time) {
	for _, r := range slices.Clone(l.asked.requests) {
		if r.begun {
			continue
		}
		if r.kind == plan.RemoveVolume {
			l.removeVolume(ctx, r)
			continue
		}
		if l.occupied(r.appID, r.object, r.locking()) {
			if late := r.until.Add(stepTimeout); time.Now().Before(late) {
				next = sooner(next, late)
			} else {
				l.answer(r, lock.HeldElsewhere(r.appID))
			}
			continue
		}
		if l.unresolved() && r.kind != plan.Stop && time.Now().Before(r.until) {
			next = sooner(next, r.until)
			continue
		}
		s, err := l.order(r)
		switch {
		case err == errNotYet:
			next = sooner(next, r.until)
		case err != nil || s.Kind == "":
			l.answer(r, err)
		case l.running[s.Key] == nil:
			r.begun = true
			l.o.Users.ForgetApp(s.AppUUID)
			l.launch(ctx, s)
			l.running[s.Key].request = r
		}
	}
	return next
}

// unresolved tells whether the services of the target are not known now, because images are being inspected for them.
func (l *Loop) unresolved() bool {
	return l.o.Resolver.Target() != nil && !l.o.Resolver.Resolved(l.o.Store.Load())
}

func (l *Loop) answer(r *request, err error) {
	l.asked.requests = slices.DeleteFunc(l.asked.requests, func(other *request) bool { return other == r })
	r.done <- err
}

// errNotYet lets a request wait.
var errNotYet = errors.New("not yet")

// order makes a step of a request. A step without a kind means that there is nothing to do.
func (l *Loop) order(r *request) (plan.Step, error) {
	cur := l.o.Store.Load()
	if !cur.Synced {
		return plan.Step{}, view.ErrEngineDown
	}
	all := cur.Newest(r.appID)
	s, c := l.startStep(r.appID, r.object, all), all[r.object]
	if app := l.targetApp(r.appID); app != nil && app.Rejected != "" {
		if r.kind == plan.Restart {
			return plan.Step{}, fmt.Errorf("restart service %s: the release is rejected: %s", r.object, app.Rejected)
		}
		s.Service = nil // of a release that is not to run
	}
	if nothing, err := l.refuse(r, s.Service, c); nothing || err != nil {
		return plan.Step{}, err
	}
	if c != nil {
		s.AppUUID = cmp.Or(s.AppUUID, current.AppKey(c.AppUUID, c.AppID))
	}
	s.Kind, s.Key, s.AppID, s.Container = r.kind, plan.ServiceKey(s.AppUUID, r.object), r.appID, c
	s.Reason, s.User = askedFor, true
	s.Hold = r.kind == plan.Restart && c != nil && plan.AwaitsReboot(s.Service, c, l.memory.notStarted)
	if r.kind == plan.Start && s.Service != nil && s.Service.ImageKnown && !c.Running && cur.Stranded(c) != "" {
		s.Kind = plan.Restart // the engine cannot start this container any more
	}
	return s, nil
}

// askedFor is the reason of the steps of requests.
const askedFor = "a client of the API asked for it"

// refuse tells whether there is nothing to do for a request, or why it cannot be done. want is the service of the
// target and have its newest container; both may be nil.
func (l *Loop) refuse(r *request, want *compose.Service, have *current.Container) (nothing bool, err error) {
	switch {
	case r.kind == plan.Restart && want == nil:
		return false, fmt.Errorf("restart service %s: the target has no such service", r.object)
	case r.kind == plan.Restart && !want.ImageKnown:
		return false, fmt.Errorf("restart service %s: its image is not on the device", r.object)
	case r.kind == plan.Start && want != nil && !want.Running:
		return true, nil
	case r.kind == plan.Start && have != nil && want != nil && plan.AwaitsReboot(want, have, l.memory.notStarted):
		return true, nil
	case r.kind == plan.Start && have == nil && want != nil && time.Now().Before(r.until):
		return false, errNotYet
	case r.kind != plan.Restart && have == nil:
		return false, fmt.Errorf("service %s of app %d has no container", r.object, r.appID)
	}
	return false, nil
}

// startStep is the step that starts a service of the target. It has no service when the target has none.
func (l *Loop) startStep(appID int, service string, all map[string]*current.Container) plan.Step {
	app := l.targetApp(appID)
	if app == nil || app.Services[service] == nil {
		return plan.Step{}
	}
	s := app.Services[service]
	peers := make(map[string]string)
	if peer := all[s.PeerOf]; peer != nil {
		peers[s.PeerOf] = peer.ID
	}
	return plan.Step{
		AppUUID: app.UUID, AppName: app.Name, Service: s, ReleaseID: app.Release, Commit: app.Commit, Peers: peers,
		Records: []current.Record{{
			Name: s.Image, AppID: app.ID, AppUUID: app.UUID, ServiceID: s.ID, ServiceName: s.Name,
			ImageID: s.ImageID, ReleaseID: app.Release, Commit: app.Commit,
		}},
	}
}

// underWay adds to an app the services that steps are bringing up.
func (l *Loop) underWay(app *compose.App) {
	for _, t := range l.running {
		s := t.step
		if s.AppID != app.ID || s.Service == nil {
			continue
		}
		if s.Kind == plan.Restart || s.Kind == plan.HandOver || s.Kind == plan.Start && s.Container == nil {
			app.UUID, app.Commit, app.Release = s.AppUUID, s.Commit, s.ReleaseID
			app.Services[s.Service.Name] = s.Service
		}
	}
}
