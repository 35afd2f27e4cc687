package update

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// SetCloudTarget stores the target state that the cloud sent, with its etag, and applies it (docs/spec/cloud.md 3.4,
// 3.6). changed is false when the document says what the last one did, in whichever words: nothing is done then, so that
// what waits after a failure waits on (Q4). Apps that are malformed are rejected alone. An error of type
// *view.InvalidTargetError says that the document cannot be used at all: what was stored stays.
func (m *Manager) SetCloudTarget(body []byte, etag string, force bool) (changed bool, err error) {
	state, heard, err := m.targets.SetCloud(body, etag)
	if heard {
		m.loop.Heard()
	}
	if state == nil || err != nil {
		m.store.Wake() // what is shown of the document may have changed
		return false, err
	}
	m.inspectTags(state)
	return true, m.loop.Adopt(force)
}

// SetLocalTarget stores a target state of local mode and applies it (docs/spec/device-api.md 2.31). The error is a
// *view.InvalidTargetError or view.ErrNotLocalMode when the target was refused.
func (m *Manager) SetLocalTarget(body []byte) error {
	if !m.targets.LocalMode() {
		return view.ErrNotLocalMode
	}
	local, err := target.DecodeLocal(body)
	if err != nil {
		if invalid := (*target.InvalidError)(nil); errors.As(err, &invalid) {
			return &view.InvalidTargetError{Problems: invalid.Lines}
		}
		return &view.InvalidTargetError{Problems: []string{err.Error()}}
	}
	lines, err := m.loop.Refuses(local.State)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		return &view.InvalidTargetError{Problems: lines}
	}
	if !local.HasName {
		local.State.Name = m.View().DeviceName
	}
	if err := m.targets.SetLocal(local.State); err != nil {
		return err
	}
	m.inspectTags(local.State)
	return m.loop.Adopt(local.Force)
}

// inspectTimeout bounds the inspection of the images of a target before it is applied. An engine that takes longer is
// asked later.
const inspectTimeout = 2 * time.Second

// inspectTags inspects the images that the tags in a target name now: the engine sends no event for some ways of
// building an image (docs/spec/engine.md 8.4).
func (m *Manager) inspectTags(s *target.State) {
	if !m.store.Load().Synced {
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
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	for name, isTag := range tags {
		if image := observe.Image(name); isTag && m.watcher.Inspect(ctx, image) != nil {
			m.watcher.Enqueue(image)
		}
	}
}

// LocalTarget is the stored target in the shape that SetLocalTarget takes, with the apps that inScope allows
// (docs/spec/device-api.md 2.30).
func (m *Manager) LocalTarget(inScope func(appID int) bool) ([]byte, error) {
	s := m.targets.Shown()
	var apps []*target.App
	for _, a := range s.Apps {
		if inScope(a.ID) {
			apps = append(apps, a)
		}
	}
	return target.EncodeLocal(s.Name, s.Config, apps)
}

// CloudETag is the etag of the stored target of this device's cloud, empty when there is none.
func (m *Manager) CloudETag() string { return m.targets.CloudETag() }

// PinRequest is the wish of a preload to pin the device to the release it came with (docs/spec/cloud.md 8.2).
func (m *Manager) PinRequest() (app int, commit string, wanted bool) { return m.targets.PinRequest() }

// PinDone forgets the wish.
func (m *Manager) PinDone() error { return m.targets.PinDone() }

// Trigger asks the cloud for its target, which leads to a pass, or makes a pass at once on a device without a cloud
// (docs/spec/device-api.md 2.4). With force, update locks are overridden until the target is reached; with cancel,
// running downloads begin again. accepted is false when nothing was done, because instant updates are off.
func (m *Manager) Trigger(force, cancel bool) (accepted bool) {
	if m.Poll != nil {
		return m.Poll(force, cancel)
	}
	m.Retry(force, cancel)
	return true
}

// Retry tries everything again at once that waits.
func (m *Manager) Retry(force, cancel bool) { m.loop.Trigger(force, cancel) }

// RestartApp makes every container of an app again as it is (docs/spec/device-api.md 2.8). It returns when the containers
// were started. The error is a *view.LockedError when an update lock forbids it.
func (m *Manager) RestartApp(ctx context.Context, appID int, force bool) error {
	return m.loop.RestartApp(ctx, appID, false, force)
}

// PurgeApp makes every container of an app again with empty volumes (docs/spec/device-api.md 2.7). Errors are those of
// RestartApp.
func (m *Manager) PurgeApp(ctx context.Context, appID int, force bool) error {
	m.users.Voice(fmt.Sprintf("Purging data for app %d", appID), false)
	err := m.loop.RestartApp(ctx, appID, true, force)
	if err != nil {
		m.users.Voice(fmt.Sprintf("Error purging data: %v", err), true)
		return err
	}
	m.users.Voice("Purged data", false)
	return nil
}

// CleanUpVolumes removes volumes of apps in scope that nothing needs (docs/spec/device-api.md 2.28).
func (m *Manager) CleanUpVolumes(ctx context.Context, inScope func(appID int) bool) error {
	return m.loop.CleanUpVolumes(ctx, inScope)
}

// StartService starts the container of a service (docs/spec/device-api.md 2.12).
func (m *Manager) StartService(ctx context.Context, appID int, service string) error {
	return m.loop.StartService(ctx, appID, service)
}

// StopService stops the container of a service and keeps it. The error is a *view.LockedError when an update lock
// forbids it.
func (m *Manager) StopService(ctx context.Context, appID int, service string, force bool) error {
	return m.loop.StopService(ctx, appID, service, force)
}

// RestartService makes the container of a service again (docs/spec/device-api.md 2.16). Errors are those of StopService.
func (m *Manager) RestartService(ctx context.Context, appID int, service string, force bool) error {
	return m.loop.RestartService(ctx, appID, service, force)
}

// WithAllLocks runs f while it holds the update locks of all apps (docs/spec/device-api.md 1.10). Errors are those of
// StopService and of f.
func (m *Manager) WithAllLocks(ctx context.Context, force bool, f func() error) error {
	return m.loop.WithAllLocks(ctx, force, f)
}

// Reboot reboots the device as the update locks allow (docs/spec/device-api.md 2.5).
func (m *Manager) Reboot(ctx context.Context, force bool) error { return m.loop.Reboot(ctx, force) }

// Shutdown switches the device off as the update locks allow (docs/spec/device-api.md 2.6).
func (m *Manager) Shutdown(ctx context.Context, force bool) error { return m.loop.Shutdown(ctx, force) }

// Heard says that the cloud was heard of: what is stored of the cloud is what it says now.
func (m *Manager) Heard() { m.loop.Heard() }

// SetFacts replaces what the device contributes to its containers. What differs is made again.
func (m *Manager) SetFacts(f compose.Facts) error { return m.loop.SetFacts(f) }

// KeyChanged says that a service has another API key than before (docs/spec/device-api.md 2.10).
func (m *Manager) KeyChanged() { m.loop.KeyChanged() }

// Settings are the settings in effect.
func (m *Manager) Settings() settings.Settings { return m.loop.Settings() }

// Healthy tells whether applying makes progress (docs/spec/cloud.md 9.2).
func (m *Manager) Healthy(now time.Time) bool { return m.loop.Healthy(now) }
