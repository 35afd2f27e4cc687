package desired

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// pin is the wish of a preload to pin the device to the release it came with (docs/spec/cloud.md 8.2).
type pin struct {
	App    int    `json:"app"` // id
	Commit string `json:"commit"`
}

// Preload takes over apps.json, the target that came with the image or was put there by hand (docs/spec/cloud.md 8.1):
// once on a managed device, on another one whenever there is a new file. A managed device needs all images of the file
// on the device: have tells whether an image is. uuidOf is as DecodePreload takes it. A crash at any point repeats all
// with the same result. The error says that the file could not be read or written.
func (t *Targets) Preload(uuidOf func(int) (string, error), have func(image string) bool) (taken bool, err error) {
	path := t.o.PreloadPath
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
		t.o.Log.Error().AnErr("cause", errors.Unwrap(err)).Err(err).Msg("preloaded apps were not taken over")
		t.refuse(preloadFile, err.Error())
	}
	if err != nil || p == nil {
		return false, nil
	}
	if taken, err = t.take(p, problems); !taken {
		return false, err
	}
	t.o.Log.Info().Int("apps", len(p.State.Apps)).Msg("preloaded apps taken over")
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
func (t *Targets) take(p *target.Preload, problems []target.Problem) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.o.Endpoint != "" && t.states[t.o.Endpoint] != nil {
		return false, nil // the cloud was faster
	}
	config := maps.Clone(t.config())
	maps.Copy(config, settings.Fold(p.State.Config))
	p.State.Config = config
	next := t.next()
	switch {
	case p.Pin && (p.PinApp == 0 || p.PinCommit == ""):
		t.o.Log.Warn().Msg("device is not pinned, since the preloaded apps have no fleet to pin it to")
	case p.Pin:
		next.Pin = &pin{App: p.PinApp, Commit: p.PinCommit}
	}
	source := cmp.Or(t.o.Endpoint, localSource)
	restoreRejected(p.State, problems, t.states[source])
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

// Delivered tells whether the cloud, or a preload in its place, ever set a target.
func (t *Targets) Delivered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.o.Endpoint != "" && t.states[t.o.Endpoint] != nil
}

// putAway keeps a preload file under another name and leaves an empty one. What a managed device
// kept once stays (docs/spec/cloud.md 8.1).
func (t *Targets) putAway(path string, body []byte) error {
	if _, err := os.Stat(path + ".preloaded"); err == nil && t.o.Endpoint != "" {
		return nil
	}
	if err := file.Write(path+".preloaded", body, 0o600); err != nil {
		return err
	}
	return file.Write(path, []byte("{}"), 0o600)
}

// PinRequest is the wish of a preload to pin the device to the release it came with.
func (t *Targets) PinRequest() (app int, commit string, wanted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.stored.Pin; p != nil {
		return p.App, p.Commit, true
	}
	return 0, "", false
}

// PinDone forgets the wish.
func (t *Targets) PinDone() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.next()
	next.Pin = nil
	return t.save(next)
}
