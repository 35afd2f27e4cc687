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
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// claimPatience is how long an action waits for another one that works on the same app
// (docs/spec/device-api.md 1.10).
const claimPatience = 10 * time.Second

// Trigger tries everything that waits again at once: with force, update locks are overridden until
// the target is reached; with cancel, running downloads begin anew (docs/spec/device-api.md 2.4).
func (m *Manager) Trigger(force, cancel bool) (accepted bool) {
	go func() { _ = m.loop.call(m.life, func() { m.loop.trigger(force, cancel) }) }()
	return true
}

// RestartApp recreates every container of an app as it is (docs/spec/device-api.md 2.8). It returns when
// they were started; the error is a *view.LockedError when an update lock forbids it.
func (m *Manager) RestartApp(ctx context.Context, appID int, force bool) error {
	return m.act(ctx, appID, false, force)
}

// PurgeApp recreates every container of an app with empty volumes (docs/spec/device-api.md 2.7). Errors
// are those of RestartApp.
func (m *Manager) PurgeApp(ctx context.Context, appID int, force bool) error {
	m.exec.say(fmt.Sprintf("Purging data for app %d", appID), false)
	err := m.act(ctx, appID, true, force)
	if err != nil {
		m.exec.say(fmt.Sprintf("Error purging data: %v", err), true)
		return err
	}
	m.exec.say("Purged data", false)
	return nil
}

// StartService starts the container of a service unless the target does not want it to run
// (docs/spec/device-api.md 2.12). It takes no lock.
func (m *Manager) StartService(ctx context.Context, appID int, service string) error {
	c, s, err := m.service(ctx, appID, service)
	if err != nil || s.step.Service != nil && !s.step.Service.Running {
		return err
	}
	if err := m.exec.book.starting(c.ID); err != nil {
		return err
	}
	return m.exec.launch(ctx, c.ID, recordOf(c), c.EngineImage)
}

// StopService stops the container of a service and keeps it. It returns when the container has
// stopped; the error is a *view.LockedError when a lock forbids it.
func (m *Manager) StopService(ctx context.Context, appID int, service string, force bool) error {
	c, s, err := m.service(ctx, appID, service)
	if err != nil {
		return err
	}
	return m.locked(ctx, appID, s, force, func() error { return m.exec.stop(ctx, c, true) })
}

// RestartService removes the container of a service and creates and starts it anew from the target
// (docs/spec/device-api.md 2.16). Errors are those of StopService.
func (m *Manager) RestartService(ctx context.Context, appID int, service string, force bool) error {
	c, s, err := m.service(ctx, appID, service)
	if err != nil {
		return err
	}
	if s.step.Service == nil || !s.step.Service.ImageKnown {
		return fmt.Errorf("restart service %s: its image is not on the device", service)
	}
	return m.locked(ctx, appID, s, force, func() error {
		if err := m.exec.kill(ctx, c); err != nil {
			return err
		}
		return m.exec.start(ctx, s.step)
	})
}

// serviceFacts is what the loop knows of a service that an action is about.
type serviceFacts struct {
	step     plan.Step // start of the target service; Service is nil when the target has none
	services []string  // of the app, for its locks
	override bool
}

// service looks up the present container and the target of a service.
func (m *Manager) service(ctx context.Context, appID int, name string) (*current.Container, serviceFacts, error) {
	cur := m.cell.load()
	if !cur.Synced {
		return nil, serviceFacts{}, view.ErrEngineDown
	}
	all := newest(cur, appID)
	c := all[name]
	if c == nil {
		return nil, serviceFacts{}, fmt.Errorf("service %s of app %d has no container", name, appID)
	}
	facts := serviceFacts{}
	for service := range all {
		facts.services = append(facts.services, service)
	}
	err := m.loop.call(ctx, func() {
		facts.override = m.loop.config.have.OverrideLock
		if app := m.loop.targetApp(appID); app != nil {
			facts.step = startStep(app, name, all)
		}
	})
	return c, facts, err
}

func startStep(app *compose.App, service string, all map[string]*current.Container) plan.Step {
	s := app.Services[service]
	if s == nil {
		return plan.Step{}
	}
	peers := make(map[string]string)
	if peer := all[s.PeerOf]; peer != nil {
		peers[s.PeerOf] = peer.ID
	}
	return plan.Step{
		Kind: plan.Start, AppUUID: app.UUID, AppID: app.ID, AppName: app.Name,
		Service: s, ReleaseID: app.Release, Commit: app.Commit, Peers: peers,
		Records: []current.Record{{
			Name: s.Image, AppID: app.ID, AppUUID: app.UUID, ServiceID: s.ID, ServiceName: s.Name,
			ImageID: s.ImageID, ReleaseID: app.Release, Commit: app.Commit,
		}},
	}
}

// locked runs f while it holds the update locks of the app.
func (m *Manager) locked(ctx context.Context, appID int, s serviceFacts, force bool, f func() error) (err error) {
	wait, cancel := context.WithTimeout(ctx, claimPatience)
	err = m.exec.locks.takeAll(wait, appID, s.services, force || s.override)
	cancel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.exec.locks.giveUp(appID)) }() // also when f breaks: the API goes on then
	return f()
}

// WithAllLocks runs f while it holds the update locks of every app that has an object on the device,
// for what concerns the whole device (docs/spec/device-api.md 1.10). With force, users' locks are
// overridden. The error is a *view.LockedError when a lock forbids it, view.ErrEngineDown while it is
// not known which apps there are, else that of f. f does not run when a lock was not had.
func (m *Manager) WithAllLocks(ctx context.Context, force bool, f func() error) (err error) {
	cur := m.cell.load()
	if !cur.Listed {
		return view.ErrEngineDown
	}
	override := false
	if err := m.loop.call(ctx, func() { override = m.loop.config.have.OverrideLock }); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	// In the same order for every caller, so that two of them cannot wait for one another.
	for _, id := range presentApps(cur) {
		services := slices.Collect(maps.Keys(newest(cur, id)))
		if err := m.exec.locks.takeAll(wait, id, services, force || override); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.exec.locks.giveUp(id)) }()
	}
	return f()
}

// presentApps lists the apps that have a container, a network or a volume, by ascending id.
func presentApps(cur *current.State) []int {
	ids := make(map[int]bool)
	for _, c := range cur.Containers {
		ids[c.AppID] = true
	}
	for _, n := range cur.Networks {
		ids[n.AppID] = true
	}
	for _, v := range cur.Volumes {
		ids[v.AppID] = true
	}
	delete(ids, 0) // networks that carry no app id: their apps' containers do
	return slices.Sorted(maps.Keys(ids))
}

// SetLocalTarget stores a target state of local mode and applies it (docs/spec/device-api.md 2.31). The
// error is a *view.InvalidTargetError or view.ErrNotLocalMode when the target was refused.
func (m *Manager) SetLocalTarget(body []byte) error {
	if !m.targets.localMode() {
		return view.ErrNotLocalMode
	}
	local, err := target.DecodeLocal(body)
	if err != nil {
		if invalid := (*target.InvalidError)(nil); errors.As(err, &invalid) {
			return &view.InvalidTargetError{Problems: invalid.Lines}
		}
		return &view.InvalidTargetError{Problems: []string{err.Error()}}
	}
	if !local.HasName {
		local.State.Name = m.View().DeviceName
	}
	if err := m.targets.set(localSource, local.State); err != nil {
		return err
	}
	return m.adopt(local.Force)
}

// adopt makes the stored target the one that is applied.
func (m *Manager) adopt(force bool) error {
	return m.loop.call(m.life, func() {
		m.loop.adopt(force)
		m.loop.publish() // who asks next is told of this target, and that it is not applied yet
	})
}

func (l *loop) adopt(force bool) {
	for _, w := range l.config.set(l.targets) {
		l.exec.say(w.Text, false)
	}
	if t := l.targets.active(); t != nil {
		l.setTarget(t, force)
	}
}

// LocalTarget is the stored target in the shape that SetLocalTarget takes, with the apps that
// inScope allows (docs/spec/device-api.md 2.30).
func (m *Manager) LocalTarget(inScope func(appID int) bool) ([]byte, error) {
	s := m.targets.shown()
	var apps []*target.App
	for _, a := range s.Apps {
		if inScope(a.ID) {
			apps = append(apps, a)
		}
	}
	return target.EncodeLocal(s.Name, s.Config, apps)
}

func notInState(appID int) error {
	return fmt.Errorf("Application with ID %d is not in the current state", appID)
}
