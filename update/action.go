package update

import (
	"context"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/view"
)

// action is a restart or purge of one app: two intermediate targets, the app taken down and the app
// as it was, after which the real target applies again (docs/spec/engine.md 5.8).
type action struct {
	phases []*compose.App // what is left to be reached; nil means: without the app
	reason string
	purge  bool
	force  bool
	done   chan error // takes one result
}

func (a *action) wants() *compose.App { return a.phases[0] }

// advance moves an action to its next intermediate target, or ends it.
func (l *loop) advance(uuid string, a *action) {
	if len(a.phases) > 1 {
		a.phases = a.phases[1:]
		a.purge = false
		l.backoff.forget(uuid)
		l.nudge()
		return
	}
	l.end(uuid, a, nil)
}

// end gives an action's caller its result; the real target applies again from the next pass on.
func (l *loop) end(uuid string, a *action, err error) {
	delete(l.actions, uuid)
	l.backoff.forget(uuid)
	a.done <- err
	l.nudge()
}

func (l *loop) nudge() {
	select {
	case l.cell.wake <- struct{}{}:
	default:
	}
}

// act carries out a restart or, with purge, a purge of an app and returns when the app is back.
// A newer action on the same app ends an older one with view.ErrAborted.
func (m *Manager) act(ctx context.Context, appID int, purge, force bool) error {
	a := &action{reason: "a restart of the app was asked for", purge: purge, force: force, done: make(chan error, 1)}
	if purge {
		a.reason = "a purge of the app was asked for"
	}
	var refused error
	err := m.loop.call(ctx, func() { refused = m.loop.enter(appID, a) })
	if err != nil || refused != nil {
		return firstOf(err, refused)
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// enter makes an action the intermediate target of its app.
func (l *loop) enter(appID int, a *action) error {
	cur := l.cell.load()
	if !cur.Synced {
		return view.ErrEngineDown
	}
	if l.leaving != nil {
		return view.ErrLeaving
	}
	if l.resolve.target == nil {
		return view.ErrNoTarget // nothing is applied before there is one
	}
	was, ok := l.restorable(cur, appID)
	if !ok {
		return notInState(appID)
	}
	if a.purge {
		a.phases = []*compose.App{nil, was}
	} else {
		down := *was
		down.Services = nil
		a.phases = []*compose.App{&down, was}
	}
	if older := l.actions[was.UUID]; older != nil {
		l.end(was.UUID, older, view.ErrAborted)
	}
	l.actions[was.UUID] = a
	l.backoff.forget(was.UUID)
	l.exec.forgetCauses(was.UUID)
	return nil
}

// restorable describes an app as it is now, so that it can be brought back the same.
func (l *loop) restorable(cur *current.State, appID int) (*compose.App, bool) {
	app := &compose.App{
		ID: appID, Services: make(map[string]*compose.Service),
		Networks: make(map[string]*compose.Network), Volumes: make(map[string]*compose.Volume),
	}
	wanted := l.targetApp(appID)
	if wanted != nil {
		app.UUID, app.Name, app.Class, app.IsHost = wanted.UUID, wanted.Name, wanted.Class, wanted.IsHost
	}
	all := newest(cur, appID)
	for _, c := range all {
		app.UUID = firstText(app.UUID, current.AppKey(c.AppUUID, c.AppID))
		app.Commit, app.Release = c.Commit, c.ReleaseID
		app.Services[c.ServiceName] = restored(c, wanted, all, cur)
	}
	l.underWay(app)
	for _, n := range cur.Networks {
		if n.AppID == appID || n.AppUUID != "" && n.AppUUID == app.UUID {
			app.UUID = firstText(app.UUID, current.AppKey(n.AppUUID, n.AppID))
			app.Networks[n.Name] = n.Config
		}
	}
	for _, v := range cur.Volumes {
		if v.AppID == appID && (v.Supervised || wanted != nil) {
			app.UUID = firstText(app.UUID, current.AppKey("", appID))
			app.Volumes[v.Name] = v.Config
		}
	}
	return app, len(app.Services)+len(app.Networks)+len(app.Volumes) > 0
}

func (l *loop) targetApp(appID int) *compose.App {
	for _, a := range l.status.apps {
		if a.ID == appID {
			return a
		}
	}
	return nil
}

// newest returns the newest container of each service of an app.
func newest(cur *current.State, appID int) map[string]*current.Container {
	found := make(map[string]*current.Container)
	for _, c := range cur.Containers {
		if c.AppID != appID {
			continue
		}
		if other := found[c.ServiceName]; other == nil || other.CreatedAt.Before(c.CreatedAt) {
			found[c.ServiceName] = c
		}
	}
	return found
}

// restored describes the service of a container as it is, in the start order of its target. What the engine
// made otherwise of the target is asked for again, so that the new container is one of the target too.
func restored(c *current.Container, wanted *compose.App, all map[string]*current.Container, cur *current.State) *compose.Service {
	s := compose.FromContainer(c.Config, c.Env, func(id string) string {
		if peer := cur.Containers[id]; peer != nil {
			return peer.ServiceName
		}
		return ""
	})
	s.Name, s.ID, s.ImageID, s.Running = c.ServiceName, c.ServiceID, c.ImageID, c.Running
	if wanted == nil || wanted.Services[c.ServiceName] == nil {
		return s
	}
	w, altered := wanted.Services[c.ServiceName], cur.Altered[c.ID]
	s.DependsOn = w.DependsOn
	peerID := func(service string) string {
		if peer := all[service]; peer != nil {
			return peer.ID
		}
		return ""
	}
	if altered != nil && len(altered.Besides(compose.Compare(w, c.Config, peerID, compose.Capabilities{NoOomKill: cur.NoOomKill}))) == 0 {
		s.Container = w.Container
	}
	return s
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
