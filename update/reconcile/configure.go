package reconcile

import (
	"context"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// configuration is what the loop knows of the settings: those in effect, and those that are wanted.
type configuration struct {
	have, want  settings.Settings
	given       map[string]string
	vpn         vpn
	boot        boot
	hostNetwork bool // a service of the target uses the host's network
	unstored    bool // settings wait for their next try, and apps do not wait for them
}

// set takes the configuration that a target came with and returns what is wrong with it: values that are not valid where
// something else than the default was in effect (docs/spec/cloud.md 6.4). A setting on which nobody acts stays as it is.
func (c *configuration) set(t *desired.Targets, d *Device) (warnings []settings.Warning) {
	want, given, ignored := t.Settings()
	c.vpn.wanted = want.VPNControl
	want.VPNControl = c.have.VPNControl // switched on its own
	if !d.CanFirewall {
		want.FirewallMode = c.have.FirewallMode
	}
	if !d.CanDiscover {
		want.Discoverability = c.have.Discoverability
	}
	c.want, c.given = want, given
	c.boot.compared, c.boot.failed, c.boot.found = false, 0, !t.Configured()
	for _, w := range ignored {
		if settings.Differs(w.Name, c.have, want) {
			warnings = append(warnings, w)
		}
	}
	return warnings
}

// configure begins the steps towards the configuration. Apps wait for them. It returns when to try again.
func (l *Loop) configure(ctx context.Context, cur *current.State) (next time.Time, settled bool) {
	boot, again := l.bootChange()
	steps := plan.Configure(plan.Configuration{
		Have: l.config.have, Want: l.config.want, Given: l.config.given, Boot: boot, RebootRequired: l.found.rebootRequested,
		Snapshot: l.o.Device.InLocalMode(), Managed: l.o.Device.Managed, Engine: cur.Synced, Idle: len(l.running) == 0,
	})
	if len(steps) == 0 {
		l.config.unstored = false
		return again, true
	}
	l.apply()
	next = sooner(again, l.begin(ctx, steps))
	// Settings that cannot be stored are tried again beside the apps. Otherwise a boot partition that cannot be written
	// would keep the device from ever being updated. But apps wait for the way into and out of local mode, because other
	// rules for volumes and images hold there.
	kind := steps[0].Kind
	l.config.unstored = (kind == plan.Set || kind == plan.RequireReboot) && l.running[steps[0].Key] == nil &&
		l.config.have.LocalMode == l.config.want.LocalMode
	return next, l.config.unstored
}

// notStored applies settings that could not be stored, except those that must be durable.
func (l *Loop) notStored(s settings.Settings) {
	have := l.config.have
	s.PollInterval, s.PersistentLogging, s.LocalMode = have.PollInterval, have.PersistentLogging, have.LocalMode
	if s != have {
		l.configured(s)
	}
}

// configured makes settings the ones in effect.
func (l *Loop) configured(s settings.Settings) {
	l.config.have = s
	l.backoff.Limit = max(s.PollInterval, time.Second)
	l.tellConfigured(s)
}

// tellConfigured publishes settings.
func (l *Loop) tellConfigured(s settings.Settings) {
	l.settings.Store(&s)
	if tell := l.o.Device.Configured; tell != nil {
		tell(s, l.config.hostNetwork)
	}
}

// Settings are the settings in effect.
func (l *Loop) Settings() settings.Settings { return *l.settings.Load() }

// configureFirst starts from the settings that are in effect when the agent starts: those that the configuration says,
// and of config.json what it says itself.
func (l *Loop) configureFirst() {
	found := l.o.Device.Found
	l.config.hostNetwork = onHostNetwork(l.o.Resolver.Target())
	l.config.have = found
	l.config.set(l.o.Targets, &l.o.Device)
	l.config.have = l.config.want
	l.config.have.PollInterval, l.config.have.PersistentLogging = found.PollInterval, found.PersistentLogging
	l.configured(l.config.have)
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

// deltas tells whether images are pulled as deltas where the engine can apply them. The agent knows only the third version
// of deltas, which balenaEngine applies itself. Any other version means whole images.
func (l *Loop) deltas() bool {
	return l.o.Device.HasDeltas && l.config.have.Delta && l.config.have.DeltaVersion == 3
}
