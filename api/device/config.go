package device

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos"
	"resin-supervisor/hostos/file"
	"resin-supervisor/update/logs"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/store"
)

// keepConfig opens config.json and sees to it that the device has an identity there; on balenaOS the host does. notice
// is what was wrong with the file. It stays in status until the next start.
func keepConfig(e *hostos.Environment, docs *store.Store, log zerolog.Logger) (config *hostos.Config, notice string, err error) {
	if own := filepath.Join(e.StateDir, "boot"); e.Boot == own {
		if err := file.MakeDir(own, 0o700); err != nil {
			return nil, "", err
		}
		log.Info().Str("directory", own).Msg("the host has no boot partition, a folder of the state directory is used instead")
	}
	config, notice, err = hostos.KeepConfig(e.ConfigPath, docs, e.HostGivesConfig, log)
	if err != nil {
		return nil, "", err
	}
	if notice != "" {
		log.Error().Str("reason", notice).Msg("config.json had lost or changed the identity of the device")
	}
	return config, notice, config.EnsureIdentity()
}

// configured acts on the settings that concern the parts of the supervisor beside update, at start and
// whenever they change (docs/spec/cloud.md 6.2).
func (d *Device) configured(pipe *logs.Pipe) func(s settings.Settings, hostNetwork bool) {
	discoverable := true // how the host starts
	var switching sync.Mutex
	return func(s settings.Settings, hostNetwork bool) {
		pipe.SetMode(d.logMode(s.LocalMode, s.LogControl))
		d.firewall.want(d.firewallRules(s, hostNetwork))
		if d.heartbeat != nil {
			d.heartbeat.Configure(s.ConnectivityCheck)
		}
		if s.Discoverability != discoverable {
			discoverable = s.Discoverability
			go func() {
				switching.Lock()
				defer switching.Unlock()
				d.discover(s.Discoverability)
			}()
		}
	}
}

// discover lets the host be found by its name on the local network, or not.
func (d *Device) discover(on bool) {
	for _, unit := range [...]string{"avahi-daemon.socket", "avahi-daemon.service"} {
		if err := d.env.Bus.SwitchUnit(context.Background(), unit, on, func() {}); err != nil {
			d.log.Error().Err(err).Str("unit", unit).Bool("on", on).Msg("discoverability of the host was not changed")
		}
	}
}

// switchVPN starts or stops the host's VPN unless it is as it should be.
func (d *Device) switchVPN(ctx context.Context, on bool, begin func()) error {
	return d.env.Bus.SwitchUnit(ctx, "openvpn.service", on, begin)
}

// exitOnIdentityChange calls end when somebody else made another device of this one in config.json, such as by joining or
// leaving a cloud. After the next start every part has the new identity. What was changed stays as it is
// (docs/spec/cloud.md 1.1, 7.4).
func (d *Device) exitOnIdentityChange(end func()) func(before, now hostos.Settings) {
	return func(before, now hostos.Settings) {
		if !before.SameDevice(now) {
			d.log.Warn().Msg("config.json makes another device of this one, exiting to start again as that device")
			end()
		}
	}
}
