package update

import (
	"context"
	"errors"
	"maps"
	"slices"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/view"
)

// CleanUpVolumes removes the volumes of apps in scope that are marked as ours, that no container has
// mounted, and that no target names: neither the one that applies nor one that waits for the end of
// local mode (docs/spec/device-api.md 2.28, A5).
func (m *Manager) CleanUpVolumes(ctx context.Context, inScope func(appID int) bool) error {
	cur := m.cell.load()
	if !cur.Synced {
		return view.ErrEngineDown
	}
	named, known := m.targets.volumes()
	if !known {
		return view.ErrNoTarget
	}
	if err := m.loop.call(ctx, func() { m.loop.nameVolumes(named) }); err != nil {
		return err
	}
	var errs error
	for _, v := range unneeded(cur, named, inScope) {
		err := m.exec.removeVolume(ctx, v)
		if !engine.IsConflict(err) { // of a container that is not ours
			errs = errors.Join(errs, err)
		}
	}
	return errs
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

// volumes are the engine names of the volumes that the stored targets name. They are not known while
// a device of a cloud has no target yet.
func (t *targets) volumes() (named map[string]bool, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	named = make(map[string]bool)
	for _, s := range t.states {
		for _, a := range s.Apps {
			if a.Release == nil {
				continue
			}
			for name := range a.Release.Volumes {
				named[compose.VolumeName(a.ID, name)] = true
			}
		}
	}
	return named, t.endpoint == "" || t.states[t.endpoint] != nil || t.states[localSource] != nil
}

// nameVolumes adds what is worked towards: a release gone back to, and what a restart or a purge
// brings back.
func (l *loop) nameVolumes(named map[string]bool) {
	add := func(a *compose.App) {
		if a != nil {
			for name := range a.Volumes {
				named[name] = true
			}
		}
	}
	for _, a := range l.status.apps {
		add(a)
	}
	for _, action := range l.actions {
		for _, a := range action.phases {
			add(a)
		}
	}
}
