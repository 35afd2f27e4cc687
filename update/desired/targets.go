// Package desired holds the target states of the device: what the cloud, local mode and a preload want, which of them
// applies, and what it means for this device.
package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
	"resin-supervisor/update/view"
)

// Options are what Targets are opened with.
type Options struct {
	Docs Documents
	Log  zerolog.Logger
	Say  userlog.Voice
	// Endpoint is the cloud API origin, which is the source of the cloud's target. It is empty on a device without a
	// cloud.
	Endpoint  string
	UUID      func() string // of the device
	Contracts target.ContractFacts
	// Found are the settings before anybody configured the device (docs/spec/cloud.md 6.5).
	Found settings.Settings
	// Boot answers the boot configuration that is in effect, by canonical variable; nil where there is none.
	Boot func() map[string]string
	// LateBoot says that there are places of the boot configuration that earlier agents did not act upon.
	LateBoot bool
	// PreloadPath is apps.json, and HostPath the file in which the host looks for the configuration.
	PreloadPath, HostPath string
}

// Documents is durable storage for small documents, as package store provides it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Targets keeps the target states of the device in one durable document: what is applied after a restart without
// asking anybody (docs/spec/cloud.md 3.6, 7.4, 7.5). Apps are kept for each source. The name and the configuration are
// those of the target that came last, from wherever (8.4). It is safe for concurrent use.
type Targets struct {
	o       Options
	initial map[string]string // the configuration while no target was ever stored
	refused string            // digest of the cloud's last document that cannot be used

	unusableMu sync.Mutex
	unusable   []view.Problem // documents that cannot be used at all

	mu     sync.Mutex // orders the changes; held while saving, so that the next change starts from what is durable
	stored targetDocument
	states map[string]*target.State // apps by source, decoded
}

// targetDocument is the durable form: one document, so that no crash separates its parts.
type targetDocument struct {
	Sources map[string]json.RawMessage `json:"sources"`
	Name    string                     `json:"name"`
	Config  map[string]string          `json:"config"` // folded; nil when no target was ever stored
	Pin     *pin                       `json:"pin,omitempty"`
	// Boot says that the configuration says how the device boots, of which earlier agents knew nothing.
	Boot bool `json:"boot"`
	// LateBoot says the same of what came late to the boot configuration of the board.
	LateBoot bool `json:"lateBoot,omitempty"`
	// Received says which document of the cloud the apps under its endpoint come from.
	Received received `json:"received"`
}

const (
	targetName    = "target"
	targetVersion = 2
	localSource   = "local"
)

// Open reads the stored targets. On a device without a cloud it takes over a preload file.
func Open(o Options) (*Targets, error) {
	t := &Targets{
		o: o, initial: settings.Current(o.Found),
		stored: targetDocument{Sources: make(map[string]json.RawMessage)}, states: make(map[string]*target.State),
	}
	if o.Boot != nil {
		maps.Copy(t.initial, o.Boot())
	}
	if _, err := o.Docs.Load(targetName, targetVersion, &t.stored); err != nil {
		return nil, fmt.Errorf("open target state: %w", err)
	}
	if t.stored.Config != nil && o.Boot != nil && (!t.stored.Boot || o.LateBoot && !t.stored.LateBoot) {
		config := o.Boot()
		maps.Copy(config, t.stored.Config)
		t.stored.Config, t.stored.Boot, t.stored.LateBoot = config, true, o.LateBoot
	}
	for source, raw := range t.stored.Sources {
		state, problems, err := target.DecodeV3Entry(raw)
		if err != nil {
			o.Log.Error().Err(err).Str("source", source).Msg("stored target state cannot be used")
			if source == o.Endpoint || source == localSource {
				t.refuse(storedTarget, err.Error())
			}
			continue
		}
		t.report(problems)
		restoreRejected(state, problems, nil)
		t.states[source] = state
	}
	if o.Endpoint == "" {
		_, err := t.Preload(nil, nil)
		return t, err
	}
	return t, nil
}

func (t *Targets) report(problems []target.Problem) {
	for _, p := range problems {
		t.o.Log.Error().Str("app", p.App).Str("reason", p.Text).Msg("part of the target state was refused")
	}
}

// config is the configuration of the device, without prefixes. It must not be changed. The caller
// holds mu.
func (t *Targets) config() map[string]string {
	if t.stored.Config == nil {
		return t.initial
	}
	return t.stored.Config
}

// Configured tells whether a target was ever stored.
func (t *Targets) Configured() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stored.Config != nil
}

// Settings are what the configuration says, the configuration itself, and what is wrong with it. A
// device without a cloud is always in local mode.
func (t *Targets) Settings() (settings.Settings, map[string]string, []settings.Warning) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parse()
}

func (t *Targets) parse() (settings.Settings, map[string]string, []settings.Warning) {
	s, warnings := settings.Parse(t.config())
	s.LocalMode = s.LocalMode || t.o.Endpoint == ""
	return s, t.config(), warnings
}

// LocalMode tells whether the local target applies.
func (t *Targets) LocalMode() bool {
	s, _, _ := t.Settings()
	return s.LocalMode
}

// present is the target that applies as it was stored, nil when none was ever set: the apps of the
// source that applies, and of the others those that are no fleets (docs/spec/cloud.md 7.4). The caller
// holds mu.
func (t *Targets) present() *target.State {
	source := t.o.Endpoint
	s, config, _ := t.parse()
	if s.LocalMode {
		source = localSource
	}
	own := t.states[source]
	if own == nil && (t.o.Endpoint == "" || !s.LocalMode) {
		return nil
	}
	present := &target.State{Name: t.stored.Name, Config: config, Apps: make(map[string]*target.App)}
	for _, of := range slices.Sorted(maps.Keys(t.states)) {
		for uuid, app := range t.states[of].Apps {
			if app.Class != "fleet" {
				present.Apps[uuid] = app
			}
		}
	}
	if own != nil {
		maps.Copy(present.Apps, own.Apps)
	}
	return present
}

// Active is the target that applies now, nil when none was ever set. Unmet contracts are marked in
// it; they are not stored, since another version of the agent or the OS may meet them.
func (t *Targets) Active() *target.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.present()
	if state == nil {
		return nil
	}
	own := markable(state)
	problems := target.CheckContracts(own, t.o.Contracts)
	t.report(problems)
	t.o.Say.Contracts(own, problems)
	return own
}

// markable copies as much of a target as a check of contracts changes; the rest is shared.
func markable(state *target.State) *target.State {
	own := *state
	own.Apps = make(map[string]*target.App, len(state.Apps))
	for uuid, stored := range state.Apps {
		app := *stored
		if app.Release != nil {
			release := *app.Release
			release.Services = maps.Clone(release.Services)
			app.Release = &release
		}
		own.Apps[uuid] = &app
	}
	return &own
}

// Shown is the name, the configuration with all defaults and the apps of the target that applies, for
// readers. The apps must not be changed.
func (t *Targets) Shown() *target.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.present()
	if s == nil {
		s = &target.State{Name: t.stored.Name, Config: t.config()}
	}
	s.Config = settings.Complete(s.Config)
	if t.o.Endpoint == "" {
		s.Config[settings.LocalMode] = "true"
	}
	return s
}

// SetLocal stores the target of local mode.
func (t *Targets) SetLocal(s *target.State) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.next()
	apps, err := t.put(&next, localSource, s)
	if err != nil {
		return err
	}
	if err := t.save(next); err != nil {
		return err
	}
	t.states[localSource] = apps
	t.usable(storedTarget, preloadFile)
	return nil
}

// put makes a target the newest of a document and returns its apps.
func (t *Targets) put(next *targetDocument, source string, s *target.State) (*target.State, error) {
	apps := &target.State{Apps: s.Apps}
	raw, err := target.Encode(apps)
	if err != nil {
		return nil, fmt.Errorf("store target state: %w", err)
	}
	next.Sources[source] = raw
	next.Name, next.Config, next.Boot, next.LateBoot = s.Name, settings.Fold(s.Config), true, t.o.LateBoot
	return apps, nil
}

// ForgetLocal drops the apps of local mode.
func (t *Targets) ForgetLocal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.next()
	delete(next.Sources, localSource)
	if err := t.save(next); err != nil {
		return err
	}
	delete(t.states, localSource)
	return nil
}

// next is a copy of the document, to be changed and saved.
func (t *Targets) next() targetDocument {
	next := t.stored
	next.Sources = maps.Clone(t.stored.Sources)
	return next
}

func (t *Targets) save(next targetDocument) error {
	if err := t.o.Docs.Save(targetName, targetVersion, next); err != nil {
		return fmt.Errorf("store target state: %w", err)
	}
	t.stored = next
	return nil
}

// Volumes are the engine names of the volumes that the stored targets name. They are not known while a device of a
// cloud has no target yet.
func (t *Targets) Volumes() (named map[string]bool, known bool) {
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
	return named, t.o.Endpoint == "" || t.states[t.o.Endpoint] != nil || t.states[localSource] != nil
}

// TellHost writes the configuration of the accepted target, from wherever it came, to where the host looks for it
// before it reboots the device (docs/spec/host.md 2, docs/spec/cloud.md 3.6).
func (t *Targets) TellHost() {
	if !t.Configured() {
		return
	}
	_, config, _ := t.Settings()
	err := file.MakeDir(filepath.Dir(t.o.HostPath), 0o755)
	if err == nil {
		_, err = file.WriteIfChanged(t.o.HostPath, []byte(userlog.JSON(settings.ForHost(config))), 0o644)
	}
	if err != nil {
		t.o.Log.Error().Err(err).Msg("cannot write the configuration for the host")
	}
}
