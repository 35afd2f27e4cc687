package update

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

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
	var lines []string
	if err := m.loop.call(m.life, func() { lines = m.loop.resolve.uncomposable(local.State) }); err != nil {
		return err
	}
	if len(lines) > 0 {
		return &view.InvalidTargetError{Problems: lines}
	}
	if !local.HasName {
		local.State.Name = m.View().DeviceName
	}
	if err := m.targets.set(localSource, local.State); err != nil {
		return err
	}
	m.seeTags(local.State)
	return m.adopt(local.Force)
}

// tagPatience bounds the looks at the images of a target before it is applied. An engine that takes longer
// is looked at later.
const tagPatience = 2 * time.Second

// seeTags looks at what the tags in a target name now: not every way of building an image makes the engine
// tell of it (docs/spec/engine.md 8.4).
func (m *Manager) seeTags(s *target.State) {
	if !m.cell.load().Synced {
		return // all images are listed before anything is applied
	}
	tags := make(map[string]bool)
	for _, a := range s.Apps {
		if a.Release == nil {
			continue
		}
		for _, service := range a.Release.Services {
			tags[service.Image] = !strings.Contains(service.Image, "@")
		}
	}
	ctx, cancel := context.WithTimeout(m.life, tagPatience)
	defer cancel()
	for name, isTag := range tags {
		if o := (object{"image", name}); isTag && m.watch.look(ctx, o) != nil {
			m.watch.enqueue(o)
		}
	}
}

// adopt makes the stored target the one that is applied.
func (m *Manager) adopt(force bool) error {
	return m.loop.call(m.life, func() {
		m.loop.adopt(force)
		m.loop.publish() // who asks next is told of this target, and that it is not applied yet
	})
}

func (l *loop) adopt(force bool) {
	l.tellHost()
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
