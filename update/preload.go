package update

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// Pin is the wish of a preload to pin the device to the release it came with (docs/spec/cloud.md 8.2).
type Pin struct {
	App    int    `json:"app"` // id
	Commit string `json:"commit"`
}

// preload takes over apps.json, the target that came with the image or was put there by hand
// (docs/spec/cloud.md 8.1): once on a managed device, on an unmanaged one whenever there is a new one. A
// managed device wants all its images to be there already, which have says; uuidOf is as DecodePreload
// takes it. A crash at any point repeats it with the same result. The error is for the medium alone.
func (t *targets) preload(path string, uuidOf func(int) (string, error), have func(image string) bool) (taken bool, err error) {
	body, err := file.Read(path, file.Large)
	if info, statErr := os.Stat(path); path == "" || errors.Is(err, os.ErrNotExist) || statErr == nil && info.IsDir() {
		return false, nil
	}
	var p *target.Preload
	var problems []target.Problem
	switch {
	case err == nil:
		p, problems, err = target.DecodePreload(body, uuidOf)
		t.report(problems)
	case !errors.Is(err, file.ErrUnfit): // else as if it could not be understood
		return false, fmt.Errorf("read preloaded apps: %w", err)
	}
	if err == nil && p != nil && have != nil {
		err = missing(p.State, have)
	}
	if err != nil {
		t.log.Error().AnErr("cause", errors.Unwrap(err)).Err(err).Msg("preloaded apps were not taken over")
		t.refuse(preloadFile, err.Error())
	}
	if err != nil || p == nil {
		return false, nil
	}
	if taken, err = t.take(p, problems); !taken {
		return false, err
	}
	t.log.Info().Int("apps", len(p.State.Apps)).Msg("preloaded apps taken over")
	return true, t.putAway(path, body)
}

// missing says which images of a target are not on the engine: one is enough to refuse it all.
func missing(s *target.State, have func(image string) bool) error {
	var names []string
	for _, app := range s.Apps {
		if app.Release == nil {
			continue
		}
		for _, service := range app.Release.Services {
			if !have(service.Image) {
				names = append(names, service.Image)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return errors.New("images that are not on the device: " + strings.Join(names, ", "))
}

// take stores a preloaded target, unless there is one from the cloud.
func (t *targets) take(p *target.Preload, problems []target.Problem) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.endpoint != "" && t.states[t.endpoint] != nil {
		return false, nil // the cloud was faster
	}
	config := maps.Clone(t.config())
	maps.Copy(config, settings.Fold(p.State.Config))
	p.State.Config = config
	next := t.next()
	switch {
	case p.Pin && (p.PinApp == 0 || p.PinCommit == ""):
		t.log.Warn().Msg("device is not pinned, since the preloaded apps have no fleet to pin it to")
	case p.Pin:
		next.Pin = &Pin{App: p.PinApp, Commit: p.PinCommit}
	}
	source := firstText(t.endpoint, localSource)
	standIn(p.State, problems, t.states[source])
	apps, err := t.put(&next, source, p.State)
	if err != nil {
		return false, err
	}
	if err := t.save(next); err != nil {
		return false, err
	}
	t.states[source] = apps
	t.usable(storedTarget, preloadFile)
	return true, nil
}

// delivered tells whether the cloud, or a preload in its place, ever set a target.
func (t *targets) delivered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endpoint != "" && t.states[t.endpoint] != nil
}

// putAway keeps a preload file under another name and leaves an empty one. What a managed device
// kept once stays (docs/spec/cloud.md 8.1).
func (t *targets) putAway(path string, body []byte) error {
	if _, err := os.Stat(path + ".preloaded"); err == nil && t.endpoint != "" {
		return nil
	}
	if err := file.Write(path+".preloaded", body, 0o600); err != nil {
		return err
	}
	return file.Write(path, []byte("{}"), 0o600)
}

// preload looks at the preload file of a managed device that has no target from its cloud yet, once
// the engine told of its images. Should it not be usable, that is logged, and the next start looks
// again.
func (l *loop) preload(ctx context.Context, cur *current.State) {
	if l.preloaded || !l.managed || !cur.Synced {
		return
	}
	l.preloaded = true
	if l.targets.delivered() {
		l.exec.looked()
		return
	}
	l.launch(ctx, plan.Step{Kind: plan.Preload, Key: "preload", Reason: "the device has no target from its cloud yet"})
}

func (x *executor) preload(ctx context.Context) error {
	defer x.looked()
	uuidOf := func(id int) (string, error) {
		if x.appUUID == nil {
			return "", errors.New("there is no way to the cloud")
		}
		return x.appUUID(ctx, id)
	}
	images := x.cell.load().Finder()
	have := func(image string) bool { return images.Find(image) != nil }
	_, err := x.targets.preload(x.preloadPath, uuidOf, have)
	return err
}

// AwaitPreload waits until a preload file, if there is one, was looked at: what it says comes before
// what the cloud does. The engine has to be there for that, so ctx should end some time.
func (m *Manager) AwaitPreload(ctx context.Context) {
	select {
	case <-m.preloaded:
	case <-ctx.Done():
	}
}

// watchPreload makes what AwaitPreload waits for.
func (m *Manager) watchPreload(path string) {
	m.preloaded = make(chan struct{})
	m.exec.looked = sync.OnceFunc(func() { close(m.preloaded) })
	if _, err := os.Stat(path); err != nil {
		m.exec.looked()
	}
}
