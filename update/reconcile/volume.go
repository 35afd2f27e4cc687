package reconcile

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// CleanUpVolumes removes the volumes of apps in scope that are marked as ours, that no container has mounted, and that no
// target names: neither the one that applies nor one that waits for the end of local mode (docs/spec/device-api.md
// 2.28, A5). Volumes that a container of somebody else uses stay.
func (l *Loop) CleanUpVolumes(ctx context.Context, inScope func(appID int) bool) error {
	var requests []*request
	var refused error
	err := l.call(ctx, func() {
		if requests, refused = l.volumeRequests(inScope); refused == nil {
			l.asked.requests = append(l.asked.requests, requests...)
		}
	})
	if err = cmp.Or(err, refused); err != nil {
		return err
	}
	var errs error
	for _, r := range requests {
		if err := <-r.done; !engine.IsConflict(err) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// volumeRequests are requests for the volumes that may go.
func (l *Loop) volumeRequests(inScope func(appID int) bool) (requests []*request, err error) {
	cur := l.o.Store.Load()
	if !cur.Synced {
		return nil, view.ErrEngineDown
	}
	named, known := l.namedVolumes()
	if !known {
		return nil, view.ErrNoTarget
	}
	for _, name := range unneeded(cur, named, inScope) {
		requests = append(requests, newRequest(plan.RemoveVolume, cur.Volumes[name].AppID, name))
	}
	return requests, nil
}

// removeVolume begins the step that removes the volume of a request, unless one is under way. A volume that is needed by
// now stays.
func (l *Loop) removeVolume(ctx context.Context, r *request) {
	cur := l.o.Store.Load()
	named, known := l.namedVolumes()
	s := plan.Step{
		Kind: plan.RemoveVolume, AppUUID: current.AppKey("", r.appID), AppID: r.appID, Object: r.object, Reason: askedFor, User: true,
	}
	if a := l.targetApp(r.appID); a != nil {
		s.AppUUID, s.AppName = a.UUID, a.Name
	}
	s.Key = plan.VolumeKey(s.AppUUID, r.object)
	switch {
	case l.asked.powerOff != nil:
		l.answer(r, view.ErrLeaving)
	case !known || !slices.Contains(unneeded(cur, named, func(id int) bool { return id == r.appID }), r.object):
		l.answer(r, nil)
	case l.running[s.Key] == nil:
		r.begun = true
		l.launch(ctx, s)
		l.running[s.Key].request = r
	}
}

// unneeded lists the volumes, by engine name, that may go.
func unneeded(cur *current.State, named map[string]bool, inScope func(appID int) bool) []string {
	named = maps.Clone(named)
	for _, c := range cur.Containers {
		for _, name := range c.VolumeNames {
			named[name] = true
		}
	}
	var names []string
	for name, v := range cur.Volumes {
		if v.Supervised && inScope(v.AppID) && !named[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// namedVolumes are the engine names of the volumes that a stored target names, and of those that the loop works towards:
// those of a release that was rolled back to, and of an app that a restart or a purge brings back. They are not known
// while a device of a cloud has no target.
func (l *Loop) namedVolumes() (named map[string]bool, known bool) {
	named, known = l.o.Targets.Volumes()
	add := func(a *compose.App) {
		if a != nil {
			for name := range a.Volumes {
				named[name] = true
			}
		}
	}
	for _, a := range l.status.Apps {
		add(a)
	}
	for _, action := range l.asked.actions {
		for _, a := range action.phases {
			add(a)
		}
	}
	return named, known
}
