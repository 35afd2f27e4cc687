package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/target"
)

// targets keeps the target states of the device, one for each source, in one durable document: what
// is applied after a restart without asking anybody (spec/cloud.md 3.6, 7.4, 7.5).
type targets struct {
	docs      Documents
	log       zerolog.Logger
	endpoint  string // cloud API origin, the source of the cloud's target; empty when unmanaged
	contracts target.ContractFacts
	say       voice

	mu     sync.Mutex // orders the changes; held while saving so that the next starts from what is durable
	stored targetDocument
	states map[string]*target.State // by source, decoded
}

// targetDocument is the durable form. Targets of both sources and the mode that chooses between
// them are one document, so that no crash separates them.
type targetDocument struct {
	Sources   map[string]json.RawMessage `json:"sources"`
	LocalMode bool                       `json:"localMode"`
}

const (
	targetName    = "target"
	targetVersion = 1
	localSource   = "local"
)

// openTargets reads the stored targets and a preload file.
func openTargets(o Options) (*targets, error) {
	t := &targets{
		docs: o.Docs, log: o.Log, endpoint: o.Endpoint, contracts: o.Contracts, say: voiceOf(o.Say),
		stored: targetDocument{Sources: make(map[string]json.RawMessage)}, states: make(map[string]*target.State),
	}
	if _, err := o.Docs.Load(targetName, targetVersion, &t.stored); err != nil {
		return nil, fmt.Errorf("open target state: %w", err)
	}
	for source, raw := range t.stored.Sources {
		state, problems, err := target.DecodeV3Entry(raw)
		if err != nil {
			t.log.Error().Err(err).Str("source", source).Msg("stored target state is not usable")
			continue
		}
		t.report(problems)
		t.states[source] = state
	}
	return t, t.preload(o.PreloadPath)
}

func (t *targets) report(problems []target.Problem) {
	for _, p := range problems {
		t.log.Error().Str("app", p.App).Str("reason", p.Text).Msg("part of the target state was refused")
	}
}

// localMode tells whether the local target applies: always on a device without a cloud.
func (t *targets) localMode() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.source() == localSource
}

// source is where the target that applies comes from. The caller holds mu.
func (t *targets) source() string {
	if t.endpoint == "" || t.stored.LocalMode {
		return localSource
	}
	return t.endpoint
}

// config holds the configuration variables of the target that applies, without prefixes.
func (t *targets) config() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.states[t.source()]; s != nil {
		return fold(s.Config)
	}
	return nil
}

// active is the target that applies now, nil when none was ever set. Unmet contracts are marked in
// it; they are not stored, since another version of the agent or the OS may meet them.
func (t *targets) active() *target.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.states[t.source()]
	if state == nil {
		return nil
	}
	raw, err := target.Encode(state)
	if err != nil {
		return state
	}
	own, _, err := target.DecodeV3Entry(raw)
	if err != nil {
		return state
	}
	problems := target.CheckContracts(own, t.contracts)
	t.report(problems)
	t.say.contracts(own, problems)
	return own
}

// present is the target that applies as it was stored, empty when none was, and whether it is the
// local one. It must not be changed.
func (t *targets) present() (s *target.State, localMode bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s = t.states[t.source()]; s == nil {
		s = &target.State{}
	}
	return s, t.source() == localSource
}

// set stores the target of a source.
func (t *targets) set(source string, s *target.State, localMode bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	raw, err := target.Encode(s)
	if err != nil {
		return fmt.Errorf("store target state: %w", err)
	}
	next := targetDocument{Sources: maps.Clone(t.stored.Sources), LocalMode: localMode}
	next.Sources[source] = raw
	if err := t.docs.Save(targetName, targetVersion, next); err != nil {
		return fmt.Errorf("store target state: %w", err)
	}
	t.stored = next
	t.states[source] = s
	return nil
}

// preload takes over apps.json, the target that came with the image or was put there by hand
// (spec/cloud.md 8.1): once on a managed device, on an unmanaged one whenever there is a new one.
// A crash at any point repeats it with the same result.
func (t *targets) preload(path string) error {
	if path == "" || t.endpoint != "" && t.states[t.endpoint] != nil {
		return nil
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EISDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read preloaded apps: %w", err)
	}
	p, problems, err := target.DecodePreload(body, t.endpoint != "")
	t.report(problems)
	if err != nil {
		t.log.Error().Err(err).Msg("preloaded apps were not taken over")
		return nil
	}
	if p == nil || len(p.State.Apps) == 0 && len(p.State.Config) == 0 {
		return nil
	}
	if err := t.set(t.source(), p.State, t.stored.LocalMode); err != nil {
		return err
	}
	t.log.Info().Int("apps", len(p.State.Apps)).Msg("preloaded apps taken over")
	if err := file.Write(path+".preloaded", body, 0o600); err != nil {
		return err
	}
	return file.Write(path, []byte("{}"), 0o600)
}

// lockOverride tells whether the configuration lets updates ignore user locks (spec/engine.md 7).
func (t *targets) lockOverride() bool {
	config := t.config()
	if v, set := config["OVERRIDE_LOCK"]; set {
		return compose.Truthy(v)
	}
	return compose.Truthy(config["SUPERVISOR_OVERRIDE_LOCK"])
}

// trialTime is the rollback timeout that the configuration sets for every release, in milliseconds,
// 0 for none.
func (t *targets) trialTime() time.Duration {
	ms, err := strconv.Atoi(t.config()["SUPERVISOR_ROLLBACK_TIMEOUT"])
	if err != nil || ms < 0 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// fold strips the prefixes of configuration variables; of one name the BALENA_ form wins, then the
// RESIN_ form, then the bare one (spec/cloud.md 6.3).
func fold(config map[string]string) map[string]string {
	folded := make(map[string]string, len(config))
	for _, prefix := range []string{"", "RESIN_", "BALENA_"} {
		for _, name := range slices.Sorted(maps.Keys(config)) {
			bare, ok := strings.CutPrefix(name, prefix)
			if !ok || prefix == "" && (strings.HasPrefix(name, "RESIN_") || strings.HasPrefix(name, "BALENA_")) {
				continue
			}
			folded[bare] = config[name]
		}
	}
	return folded
}
