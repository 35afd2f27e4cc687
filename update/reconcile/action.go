package reconcile

import (
	"cmp"
	"context"
	"fmt"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/view"
)

// action is a restart or a purge of one app. It has two intermediate targets: without the app, and with the app as it
// was. Then the real target applies again (docs/spec/engine.md 5.8).
type action struct {
	phases []*compose.App // what is left to be reached; nil means: without the app
	reason string
	purge  bool
	force  bool
	done   chan error // takes one result
}

func (a *action) wants() *compose.App { return a.phases[0] }

// advance moves an action to its next intermediate target, or ends it.
func (l *Loop) advance(uuid string, a *action) {
	if len(a.phases) > 1 {
		a.phases = a.phases[1:]
		a.purge = false
		l.backoff.Forget(uuid)
		l.o.Store.Wake()
		return
	}
	l.end(uuid, a, nil)
}

// end gives an action's caller its result; the real target applies again from the next pass on.
func (l *Loop) end(uuid string, a *action, err error) {
	delete(l.asked.actions, uuid)
	l.backoff.Forget(uuid)
	a.done <- err
	l.o.Store.Wake()
}

// RestartApp makes every container of an app again as it is (docs/spec/device-api.md 2.8), or with purge every container
// with empty volumes (2.7). It returns when the containers were started. The error is a *view.LockedError when an
// update lock forbids it, and view.ErrAborted when a newer action on the same app ended this one.
func (l *Loop) RestartApp(ctx context.Context, appID int, purge, force bool) error {
	a := &action{reason: "a restart of the app was asked for", purge: purge, force: force, done: make(chan error, 1)}
	if purge {
		a.reason = "a purge of the app was asked for"
	}
	var refused error
	err := l.call(ctx, func() { refused = l.enter(appID, a) })
	if err = cmp.Or(err, refused); err != nil {
		return err
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter makes an action the intermediate target of its app.
func (l *Loop) enter(appID int, a *action) error {
	cur := l.o.Store.Load()
	if !cur.Synced {
		return view.ErrEngineDown
	}
	if l.asked.powerOff != nil {
		return view.ErrLeaving
	}
	if l.o.Resolver.Target() == nil {
		return view.ErrNoTarget // nothing is applied before there is one
	}
	was, ok := l.restorable(cur, appID)
	if !ok {
		return fmt.Errorf("Application with ID %d is not in the current state", appID)
	}
	if a.purge {
		a.phases = []*compose.App{nil, was}
	} else {
		down := *was
		down.Services = nil
		a.phases = []*compose.App{&down, was}
	}
	if older := l.asked.actions[was.UUID]; older != nil {
		l.end(was.UUID, older, view.ErrAborted)
	}
	l.asked.actions[was.UUID] = a
	l.backoff.Forget(was.UUID)
	l.o.Users.ForgetApp(was.UUID)
	return nil
}

// restorable describes an app as it is now, so that it can be brought back the same.
func (l *Loop) restorable(cur *current.State, appID int) (*compose.App, bool) {
	app := &compose.App{
		ID: appID, Services: make(map[string]*compose.Service),
		Networks: make(map[string]*compose.Network), Volumes: make(map[string]*compose.Volume),
	}
	wanted := l.targetApp(appID)
	if wanted != nil {
		app.UUID, app.Name, app.Class, app.IsHost = wanted.UUID, wanted.Name, wanted.Class, wanted.IsHost
	}
	all := cur.Newest(appID)
	for _, c := range all {
		app.UUID = cmp.Or(app.UUID, current.AppKey(c.AppUUID, c.AppID))
		app.Commit, app.Release = c.Commit, c.ReleaseID
		app.Services[c.ServiceName] = restored(c, wanted, all, cur)
	}
	l.underWay(app)
	for _, n := range cur.Networks {
		if n.AppID == appID || n.AppUUID != "" && n.AppUUID == app.UUID {
			app.UUID = cmp.Or(app.UUID, current.AppKey(n.AppUUID, n.AppID))
			app.Networks[n.Name] = n.Config
		}
	}
	for _, v := range cur.Volumes {
		if v.AppID == appID && (v.Supervised || wanted != nil) {
			app.UUID = cmp.Or(app.UUID, current.AppKey("", appID))
			app.Volumes[v.Name] = v.Config
		}
	}
	return app, len(app.Services)+len(app.Networks)+len(app.Volumes) > 0
}

func (l *Loop) targetApp(appID int) *compose.App {
	for _, a := range l.status.Apps {
		if a.ID == appID {
			return a
		}
	}
	return nil
}

// restored describes the service of a container as it is, in the start order of its target. When the engine had changed
// what the target wants, restored asks for what the target wants again, so that the new container fits the target too.
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
