package device

import (
	"path/filepath"

	"resin-supervisor/hostos"
	"resin-supervisor/update"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/execute"
	"resin-supervisor/update/key"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/store"
)

// updateOptions is what the update engine is built from.
func (d *Device) updateOptions(e *engine.Client, docs *store.Store, ring *key.Ring, locks *lock.Dir) update.Options {
	s := d.config.Get()
	own := filepath.Join(d.env.Root, "tmp/balena-supervisor")
	return update.Options{
		Engine:     e,
		Docs:       docs,
		Keys:       ring,
		Locks:      locks,
		Facts:      d.composeFacts(),
		Configured: d.configured(d.pipe),
		Changed:    d.changed,
		HangUp:     d.keepAlive.Close,
		Say:        d.pipe.Say,
		Attach:     d.pipe.Attach,
		Log:        d.log,
		Images:     execute.Images{Auth: d.registryAuth, Registry: d.askRegistry, Free: d.free, Deltas: d.deltas()},
		Host: update.Host{
			StoreSettings: d.config.StoreSettings,
			VPN:           d.switchVPN,
			NoteFirmware:  d.config.NoteFirmwareVolume,
			AppUUID:       d.appUUID(),
			CanDiscover:   true,
			CanFirewall:   hostos.HasFirewall(d.env.Root),
			Boot:          d.boot,
			LateBoot:      d.boot.Late,
			Reboot:        ledger.Reboot{ID: hostos.BootID(), Booted: hostos.Booted(), Breadcrumb: filepath.Join(own, "reboot-after-apply")},
			Power:         d.power(),
			TargetConfig:  filepath.Join(own, "target-state-config"),
		},
		Device: update.Device{
			UUID:              func() string { return d.config.Get().UUID },
			Development:       func() bool { return d.config.Get().DevelopmentMode },
			Endpoint:          s.APIEndpoint,
			PreloadPath:       filepath.Join(d.env.Data, "apps.json"),
			BackupPath:        filepath.Join(d.env.Data, "backup.tgz"),
			BackupRetry:       s.BootstrapRetryDelay,
			PollInterval:      s.PollInterval,
			PersistentLogging: s.PersistentLogging,
			Contracts:         d.contractFacts(),
			Image:             d.ownImage(),
			Container:         d.env.Container,
		},
	}
}
