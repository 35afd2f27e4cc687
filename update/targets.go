package update

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// targets keeps the target states of the device in one durable document: what is applied after a
// restart without asking anybody (docs/spec/cloud.md 3.6, 7.4, 7.5). Apps are kept for each source; the
// name and the configuration are those of the target that came last, from wherever (8.4).
type targets struct {
	docs      Documents
	log       zerolog.Logger
	say       voice
	endpoint  string // cloud API origin, the source of the cloud's target; empty when unmanaged
	uuid      func() string
	refused   string // digest of the cloud's last document that was of no use
	contracts target.ContractFacts
	// initial is the configuration while no target was ever stored: the device as it was found
	// (docs/spec/cloud.md 6.5).
	initial  map[string]string
	lateBoot bool // there are places of the boot configuration that were not acted upon before

	unusableMu sync.Mutex
	unusable   []view.Problem // documents of which nothing can be used

	mu     sync.Mutex // orders the changes; held while saving so that the next starts from what is durable
	stored targetDocument
	states map[string]*target.State // apps by source, decoded
}

// targetDocument is the durable form: one document, so that no crash separates its parts.
type targetDocument struct {
	Sources map[string]json.RawMessage `json:"sources"`
	Name    string                     `json:"name"`
	Config  map[string]string          `json:"config"` // folded; nil when no target was ever stored
	Pin     *Pin                       `json:"pin,omitempty"`
	// Boot says that the configuration says how the device boots, of which earlier agents knew nothing.
	Boot bool `json:"boot"`
	// LateBoot says the same of what came late to the boot configuration of the board.
	LateBoot bool `json:"lateBoot,omitempty"`
	// Received is what of the cloud's the apps under its endpoint are.
	Received received `json:"received"`
}

const (
	targetName    = "target"
	targetVersion = 2
	localSource   = "local"
)

// openTargets reads the stored targets and a preload file.
func openTargets(o Options) (*targets, error) {
	t := &targets{
		docs: o.Docs, log: o.Log, say: voiceOf(o.Say), endpoint: o.Endpoint, uuid: o.UUID, contracts: o.Contracts, initial: o.initial(), lateBoot: o.LateBoot,
		stored: targetDocument{Sources: make(map[string]json.RawMessage)}, states: make(map[string]*target.State),
	}
	if _, err := o.Docs.Load(targetName, targetVersion, &t.stored); err != nil {
		return nil, fmt.Errorf("open target state: %w", err)
	}
	if t.stored.Config != nil && o.Boot != nil && (!t.stored.Boot || o.LateBoot && !t.stored.LateBoot) {
		config := o.Boot.Current()
		maps.Copy(config, t.stored.Config)
		t.stored.Config, t.stored.Boot, t.stored.LateBoot = config, true, o.LateBoot
	}
	for source, raw := range t.stored.Sources {
		state, problems, err := target.DecodeV3Entry(raw)
		if err != nil {
			t.log.Error().Err(err).Str("source", source).Msg("stored target state is not usable")
			if source == o.Endpoint || source == localSource {
				t.refuse(storedTarget, err.Error())
			}
			continue
		}
		t.report(problems)
		standIn(state, problems, nil)
		t.states[source] = state
	}
	if o.Endpoint == "" {
		_, err := t.preload(o.PreloadPath, nil, nil)
		return t, err
	}
	return t, nil
}

// found are the settings as they are before anybody configured the device.
func (o Options) found() settings.Settings {
	s, _ := settings.Parse(nil)
	s.PollInterval, s.PersistentLogging = o.PollInterval, o.PersistentLogging
	return s
}

// initial is the configuration of the device before anybody configured it, boot configuration included
// (docs/spec/cloud.md 6.5).
func (o Options) initial() map[string]string {
	config := settings.Current(o.found())
	if o.Boot != nil {
		maps.Copy(config, o.Boot.Current())
	}
	return config
}

func (t *targets) report(problems []target.Problem) {
	for _, p := range problems {
		t.log.Error().Str("app", p.App).Str("reason", p.Text).Msg("part of the target state was refused")
	}
}

// config is the configuration of the device, without prefixes. It must not be changed. The caller
// holds mu.
func (t *targets) config() map[string]string {
	if t.stored.Config == nil {
		return t.initial
	}
	return t.stored.Config
}

// configured tells whether a target was ever stored.
func (t *targets) configured() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stored.Config != nil
}

// settings are what the configuration says, the configuration itself, and what is wrong with it. A
// device without a cloud is always in local mode.
func (t *targets) settings() (settings.Settings, map[string]string, []settings.Warning) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parse()
}

func (t *targets) parse() (settings.Settings, map[string]string, []settings.Warning) {
	s, warnings := settings.Parse(t.config())
	s.LocalMode = s.LocalMode || t.endpoint == ""
	return s, t.config(), warnings
}

// localMode tells whether the local target applies.
func (t *targets) localMode() bool {
	s, _, _ := t.settings()
	return s.LocalMode
}

// present is the target that applies as it was stored, nil when none was ever set: the apps of the
// source that applies, and of the others those that are no fleets (docs/spec/cloud.md 7.4). The caller
// holds mu.
func (t *targets) present() *target.State {
	source := t.endpoint
	s, config, _ := t.parse()
	if s.LocalMode {
		source = localSource
	}
	own := t.states[source]
	if own == nil && (t.endpoint == "" || !s.LocalMode) {
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

// active is the target that applies now, nil when none was ever set. Unmet contracts are marked in
// it; they are not stored, since another version of the agent or the OS may meet them.
func (t *targets) active() *target.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.present()
	if state == nil {
		return nil
	}
	own := markable(state)
	problems := target.CheckContracts(own, t.contracts)
	t.report(problems)
	t.say.contracts(own, problems)
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

// shown is the name, the configuration with all defaults and the apps of the target that applies, for
// readers. The apps must not be changed.
func (t *targets) shown() *target.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.present()
	if s == nil {
		s = &target.State{Name: t.stored.Name, Config: t.config()}
	}
	s.Config = settings.Complete(s.Config)
	if t.endpoint == "" {
		s.Config[settings.LocalMode] = "true"
	}
	return s
}

// set stores the target of a source.
func (t *targets) set(source string, s *target.State) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.next()
	if source != localSource {
		next.Received = received{}
	}
	apps, err := t.put(&next, source, s)
	if err != nil {
		return err
	}
	if err := t.save(next); err != nil {
		return err
	}
	t.states[source] = apps
	t.usable(storedTarget, preloadFile)
	return nil
}

// put makes a target the newest of a document and returns its apps.
func (t *targets) put(next *targetDocument, source string, s *target.State) (*target.State, error) {
	apps := &target.State{Apps: s.Apps}
	raw, err := target.Encode(apps)
	if err != nil {
		return nil, fmt.Errorf("store target state: %w", err)
	}
	next.Sources[source] = raw
	next.Name, next.Config, next.Boot, next.LateBoot = s.Name, settings.Fold(s.Config), true, t.lateBoot
	return apps, nil
}

// forgetLocal drops the apps of local mode.
func (t *targets) forgetLocal() error {
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
func (t *targets) next() targetDocument {
	next := t.stored
	next.Sources = maps.Clone(t.stored.Sources)
	return next
}

func (t *targets) save(next targetDocument) error {
	if err := t.docs.Save(targetName, targetVersion, next); err != nil {
		return fmt.Errorf("store target state: %w", err)
	}
	t.stored = next
	return nil
}
