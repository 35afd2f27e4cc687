package update

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"time"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// configuration is what the loop knows of the settings: those in effect, those that are wanted, and
// who is told when they change. The doors that nobody opened hold their settings as they are: what is
// not acted upon does not change.
type configuration struct {
	have, want settings.Settings
	given      map[string]string
	changed    func(s settings.Settings, hostNetwork bool)
	vpn        vpn
	boot       boot
	// The doors to parts of the host: somebody acts on these variables.
	firewall, discoverability bool
	hostNetwork               bool // a service of the target uses the host's
	unstored                  bool // settings wait for their next try, and apps do not wait for them
}

// set takes the configuration that a target came with and returns what is wrong with it: values that
// are not valid where something else than the default was in effect (docs/spec/cloud.md 6.4).
func (c *configuration) set(t *targets) (warnings []settings.Warning) {
	want, given, ignored := t.settings()
	c.vpn.wanted = want.VPNControl
	want.VPNControl = c.have.VPNControl // switched on its own
	if !c.firewall {
		want.FirewallMode = c.have.FirewallMode
	}
	if !c.discoverability {
		want.Discoverability = c.have.Discoverability
	}
	c.want, c.given = want, given
	c.boot.looked, c.boot.failed, c.boot.found = false, 0, !t.configured()
	for _, w := range ignored {
		if settings.Differs(w.Name, c.have, want) {
			warnings = append(warnings, w)
		}
	}
	return warnings
}

// configure begins the steps towards the configuration. While there are any, apps wait. It returns when
// to look again.
func (l *loop) configure(ctx context.Context, cur *current.State) (next time.Time, settled bool) {
	boot, again := l.bootChange()
	steps := plan.Configure(plan.Configuration{
		Have: l.config.have, Want: l.config.want, Given: l.config.given, Boot: boot, RebootRequired: l.reboot,
		Snapshot: l.exec.local.taken(), Managed: l.managed, Engine: cur.Synced, Idle: len(l.running) == 0,
	})
	if len(steps) == 0 {
		l.config.unstored = false
		return again, true
	}
	l.apply()
	next = sooner(again, l.begin(ctx, steps))
	// Settings that cannot be stored are tried again beside the apps, or a boot partition that cannot be
	// written would keep the device from ever being updated. But apps wait for the way into and out of local
	// mode, where their volumes and images count otherwise.
	kind := steps[0].Kind
	l.config.unstored = (kind == plan.Set || kind == plan.RequireReboot) && l.running[steps[0].Key] == nil &&
		l.config.have.LocalMode == l.config.want.LocalMode
	return next, l.config.unstored
}

// notStored puts settings that could not be stored in effect as far as they need not be durable.
func (l *loop) notStored(s settings.Settings) {
	have := l.config.have
	s.PollInterval, s.PersistentLogging, s.LocalMode = have.PollInterval, have.PersistentLogging, have.LocalMode
	if s != have {
		l.configured(s)
	}
}

// configured makes settings the ones in effect.
func (l *loop) configured(s settings.Settings) {
	l.config.have = s
	l.backoff.limit = max(s.PollInterval, time.Second)
	l.config.changed(s, l.config.hostNetwork)
}

// tellHost writes the configuration of the accepted target, from wherever it came, to where the host looks
// before it reboots the device (docs/spec/host.md 2, docs/spec/cloud.md 3.6).
func (l *loop) tellHost() {
	if !l.targets.configured() {
		return
	}
	_, config, _ := l.targets.settings()
	path := filepath.Join(filepath.Dir(l.exec.reboot.breadcrumb), "target-state-config")
	err := file.MakeDir(filepath.Dir(path), 0o755)
	if err == nil {
		_, err = file.WriteIfChanged(path, []byte(jsonText(settings.ForHost(config))), 0o644)
	}
	if err != nil {
		l.log.Error().Err(err).Msg("the host does not get to know the configuration")
	}
}

// onHostNetwork tells whether a service of a target uses the host's network.
func onHostNetwork(t *target.State) bool {
	if t == nil {
		return false
	}
	for _, app := range t.Apps {
		if app.Release == nil {
			continue
		}
		for _, s := range app.Release.Services {
			if compose.UsesHostNetwork(s.Composition) {
				return true
			}
		}
	}
	return false
}

// deltas tells whether images are made from deltas where the engine can. Only the third version of
// deltas is known here, those that balenaEngine applies itself; every other one means whole images.
func (l *loop) deltas() bool {
	return l.exec.deltas != nil && l.config.have.Delta && l.config.have.DeltaVersion == 3
}

// configure makes settings durable where config.json has them; the others are where they came from.
func (x *executor) configure(s plan.Step) error {
	text := changesText(s.Changes)
	x.say("Applying configuration change "+text, false)
	if err := x.storeSettings(*s.Settings); err != nil {
		x.say("Error applying configuration change: "+cause(err), true)
		return err
	}
	x.say("Applied configuration change "+text, false)
	return nil
}

// changesText is the JSON of changes in messages: name to value.
func changesText(changes []settings.Change) string {
	values := make(map[string]string, len(changes))
	for _, c := range changes {
		values[c.Name] = c.New
	}
	return jsonText(values)
}

// jsonText is the JSON of texts, with nothing escaped that need not be.
func jsonText(values map[string]string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(values) // texts always encode
	return strings.TrimSuffix(out.String(), "\n")
}

// rebootChanges are the changes that need a reboot.
func rebootChanges(all []settings.Change) []settings.Change {
	var changes []settings.Change
	for _, c := range all {
		if c.Reboot {
			changes = append(changes, c)
		}
	}
	return changes
}

// configureFirst starts from the settings that are in effect when the agent starts: those that the
// configuration says, and of config.json what it says itself.
func (l *loop) configureFirst(t *targets, o Options) {
	l.config.hostNetwork = onHostNetwork(l.resolve.target)
	found := o.found()
	l.config.have = found
	l.config.set(t)
	l.config.have = l.config.want
	l.config.have.PollInterval, l.config.have.PersistentLogging = found.PollInterval, found.PersistentLogging
	l.configured(l.config.have)
}

// configured publishes settings and tells who asked to be told.
func (m *Manager) configured(tell func(settings.Settings, bool)) func(settings.Settings, bool) {
	return func(s settings.Settings, hostNetwork bool) {
		m.settings.Store(&s)
		if tell != nil {
			tell(s, hostNetwork)
		}
	}
}

// Settings are the settings in effect. They are safe to read at any time.
func (m *Manager) Settings() settings.Settings { return *m.settings.Load() }
