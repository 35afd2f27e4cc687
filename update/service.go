package update

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// claimPatience is how long an action waits for another one that works on the same app
// (docs/spec/device-api.md 1.10).
const claimPatience = 10 * time.Second

// stepPatience is how much longer an action waits for a step on its service: on a small board a start takes
// seconds, and a hand-over may take hours.
const stepPatience = 50 * time.Second

// cedeEvery is how often an action with force asks whether the loop still works on the app.
const cedeEvery = time.Second

// request is what the API wants done to one service. The loop makes a step of it when no other step is
// in the way, from what it knows then: the caller may have waited for an update that changed everything.
type request struct {
	kind    plan.Kind // Start, Stop, Restart
	appID   int
	service string
	until   time.Time  // how long it waits for the target to be known, and a Start for the container of an update
	begun   bool       // its step is under way
	done    chan error // takes one result
}

// locking tells whether the caller holds the update locks of the app.
func (r *request) locking() bool { return r.kind != plan.Start }

// StartService starts the container of a service unless the target does not want it to run
// (docs/spec/device-api.md 2.12). It takes no lock. A container whose network was made again since is replaced.
func (m *Manager) StartService(ctx context.Context, appID int, service string) error {
	return m.ask(ctx, plan.Start, appID, service)
}

// StopService stops the container of a service and keeps it. It returns when the container has
// stopped; the error is a *view.LockedError when a lock forbids it.
func (m *Manager) StopService(ctx context.Context, appID int, service string, force bool) error {
	return m.locked(ctx, appID, force, func() error { return m.ask(ctx, plan.Stop, appID, service) })
}

// RestartService removes the container of a service and creates and starts it again from the target
// (docs/spec/device-api.md 2.16). Errors are those of StopService.
func (m *Manager) RestartService(ctx context.Context, appID int, service string, force bool) error {
	return m.locked(ctx, appID, force, func() error { return m.ask(ctx, plan.Restart, appID, service) })
}

// ask hands a request to the loop and waits for what becomes of it.
func (m *Manager) ask(ctx context.Context, kind plan.Kind, appID int, service string) error {
	r := &request{kind: kind, appID: appID, service: service, until: time.Now().Add(claimPatience), done: make(chan error, 1)}
	if err := m.loop.call(ctx, func() { m.loop.requests = append(m.loop.requests, r) }); err != nil {
		return err
	}
	return <-r.done
}

// serve begins the requests that nothing is in the way of. It returns when to look at the others again,
// the zero time when a step will end before.
func (l *loop) serve(ctx context.Context) (next time.Time) {
	for _, r := range slices.Clone(l.requests) {
		if r.begun {
			continue
		}
		if l.occupied(r.appID, r.service, r.locking()) {
			if late := r.until.Add(stepPatience); time.Now().Before(late) {
				next = sooner(next, late)
			} else {
				l.answer(r, heldElsewhere(r.appID))
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
			l.exec.forgetCauses(s.AppUUID)
			l.launch(ctx, s)
			l.running[s.Key].request = r
		}
	}
	return next
}

// unresolved tells whether what the target says of services is not known yet, or no longer: images are
// being inspected for it.
func (l *loop) unresolved() bool {
	return l.resolve.target != nil && !l.resolve.fresh(l.cell.load())
}

func (l *loop) answer(r *request, err error) {
	l.requests = slices.DeleteFunc(l.requests, func(other *request) bool { return other == r })
	r.done <- err
}

// errNotYet lets a request wait.
var errNotYet = errors.New("not yet")

// order makes a step of a request. Without a kind there is nothing to do.
func (l *loop) order(r *request) (plan.Step, error) {
	cur := l.cell.load()
	if !cur.Synced {
		return plan.Step{}, view.ErrEngineDown
	}
	all := newest(cur, r.appID)
	s, c := l.startStep(r.appID, r.service, all), all[r.service]
	app := l.targetApp(r.appID)
	if app != nil && app.Rejected != "" {
		s.Service = nil // of a release that is not to run
	}
	switch {
	case r.kind == plan.Restart && app != nil && app.Rejected != "":
		return plan.Step{}, fmt.Errorf("restart service %s: the release is rejected: %s", r.service, app.Rejected)
	case r.kind == plan.Restart && s.Service == nil:
		return plan.Step{}, fmt.Errorf("restart service %s: the target has no such service", r.service)
	case r.kind == plan.Restart && !s.Service.ImageKnown:
		return plan.Step{}, fmt.Errorf("restart service %s: its image is not on the device", r.service)
	case r.kind == plan.Start && s.Service != nil && !s.Service.Running:
		return plan.Step{}, nil
	case r.kind == plan.Start && c != nil && s.Service != nil && plan.AwaitsReboot(s.Service, c, l.earlier):
		return plan.Step{}, nil
	case r.kind == plan.Start && c == nil && s.Service != nil && time.Now().Before(r.until):
		return plan.Step{}, errNotYet
	case r.kind != plan.Restart && c == nil:
		return plan.Step{}, fmt.Errorf("service %s of app %d has no container", r.service, r.appID)
	}
	if c != nil {
		s.AppUUID = firstText(s.AppUUID, current.AppKey(c.AppUUID, c.AppID))
	}
	s.Kind, s.Key, s.AppID, s.Container = r.kind, plan.ServiceKey(s.AppUUID, r.service), r.appID, c
	s.Reason, s.User = "a client of the API asked for it", true
	s.Hold = r.kind == plan.Restart && c != nil && plan.AwaitsReboot(s.Service, c, l.earlier)
	if r.kind == plan.Start && s.Service != nil && s.Service.ImageKnown && !c.Running && cur.Stranded(c) != "" {
		s.Kind = plan.Restart // the engine cannot start this container any more
	}
	return s, nil
}

// startStep is what brings up a service of the target, without a service when the target has none.
func (l *loop) startStep(appID int, service string, all map[string]*current.Container) plan.Step {
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

// occupied tells whether a step works on a service, or on anything of its app.
func (l *loop) occupied(appID int, service string, anything bool) bool {
	for _, t := range l.running {
		s := t.step
		// Who waits for the lock of the app does not work on it yet.
		if s.AppID == appID && !imagesOnly(s) && s.Kind != plan.TakeLock && (anything || s.ServiceName() == service) {
			return true
		}
	}
	return false
}

// works tells whether a step works on an app.
func (l *loop) works(appID int) bool { return l.occupied(appID, "", true) }

// cede gives the claim of an app that the loop holds to the caller, unless something works under it. It
// tells whether the caller has the claim now.
func (l *loop) cede(appID int) bool {
	for uuid, id := range l.held {
		if id == appID && l.actions[uuid] == nil && !l.works(appID) {
			delete(l.held, uuid)
			return true
		}
	}
	return false
}

// claimed tells whether a request that holds the locks of an app waits or is under way.
func (l *loop) claimed(appID int) bool {
	return slices.ContainsFunc(l.requests, func(r *request) bool { return r.appID == appID && r.locking() })
}

// reserved tells whether a step has to wait because a request works on its app. Who asked has the locks,
// but not every step needs them.
func (l *loop) reserved(s plan.Step) bool {
	return !imagesOnly(s) && (l.claimed(s.AppID) ||
		slices.ContainsFunc(s.Records, func(r current.Record) bool { return l.claimed(r.AppID) }))
}

// imagesOnly tells whether a step brings images and touches nothing else.
func imagesOnly(s plan.Step) bool {
	return s.Kind == plan.Look || s.Kind == plan.Fetch || s.Kind == plan.Save
}

// aside tells whether a step shows that a request is under way, and no update.
func (l *loop) aside(s plan.Step, requested bool) bool {
	return (requested || l.claimed(s.AppID)) && !l.status.applying && l.actions[s.AppUUID] == nil
}

// underWay adds to an app the services that steps are bringing up.
func (l *loop) underWay(app *compose.App) {
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

// locked runs f while it holds the update locks of the app.
func (m *Manager) locked(ctx context.Context, appID int, force bool, f func() error) (err error) {
	if !m.cell.load().Synced {
		return view.ErrEngineDown
	}
	wait, cancel := context.WithTimeout(ctx, claimPatience)
	err = m.takeLocks(wait, appID, force, force)
	cancel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.exec.locks.giveUp(appID)) }() // also when f breaks: the API goes on then
	return f()
}

// takeLocks takes the update locks of an app for an action. With past a claim of the loop that nothing works
// under is no obstacle, whenever that is while the action waits.
func (m *Manager) takeLocks(ctx context.Context, appID int, force, past bool) error {
	for {
		ceded := false
		err := m.loop.call(ctx, func() {
			force = force || m.loop.config.have.OverrideLock
			past = past || force
			ceded = past && m.loop.cede(appID)
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return heldElsewhere(appID)
		}
		if err != nil {
			return err
		}
		turn, cancel := ctx, context.CancelFunc(func() {})
		if past {
			turn, cancel = context.WithTimeout(ctx, cedeEvery)
		}
		err = m.exec.locks.takeAll(turn, appID, ceded, func() []string {
			return slices.Collect(maps.Keys(newest(m.cell.load(), appID)))
		}, force)
		over := err == nil || turn.Err() == nil || ctx.Err() != nil
		cancel()
		if over {
			return err
		}
	}
}

// WithAllLocks runs f while it holds the update locks of every app that has an object on the device,
// for what concerns the whole device (docs/spec/device-api.md 1.10). Until the engine was listed these are
// the apps with a directory for locks. With force, users' locks are overridden. The error is a
// *view.LockedError when a lock forbids it, else that of f. f does not run when a lock was not had.
func (m *Manager) WithAllLocks(ctx context.Context, force bool, f func() error) (err error) {
	return m.withAllLocks(ctx, force, force, f)
}

func (m *Manager) withAllLocks(ctx context.Context, force, past bool, f func() error) (err error) {
	apps := func() []int { return presentApps(m.cell.load()) }
	if !m.cell.load().Listed {
		ids, err := m.exec.locks.dir.Apps()
		if err != nil {
			return err
		}
		apps = func() []int { return slices.Clone(ids) }
	}
	wait, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	taken := make(map[int]bool)
	for {
		// In the same order for every caller, so that two of them do not wait for one another. An app may
		// come while the lock of another is waited for.
		ids := slices.DeleteFunc(apps(), func(id int) bool { return taken[id] })
		if len(ids) == 0 {
			return f()
		}
		id := ids[0]
		if err := m.takeLocks(wait, id, force, past); err != nil {
			return err
		}
		taken[id] = true
		defer func() { err = errors.Join(err, m.exec.locks.giveUp(id)) }()
	}
}
