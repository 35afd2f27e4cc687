package device

import (
	"context"
	"maps"
	"path/filepath"
	"strings"

	"resin-supervisor/api"
	"resin-supervisor/hostos"
	"resin-supervisor/update/cloud"
	"resin-supervisor/update/key"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/store"
)

// joinCloud builds what keeps the device in touch with its cloud, if it has one.
func (d *Device) joinCloud(docs *store.Store, ring *key.Ring) (err error) {
	if !d.config.Get().Managed() {
		return nil
	}
	hardware := hostos.NewHardware()
	d.remote, err = cloud.NewDevice(cloud.Options{
		Client: d.client, Identity: d.identity, Save: d.saveIdentity, FormerKeys: d.config.FormerKeys,
		Facts: func() cloud.Facts { return d.cloudFacts(ring) },
		Terms: func() cloud.Terms {
			s := d.manager.Settings()
			return cloud.Terms{Instant: s.InstantUpdates, Metrics: s.HardwareMetrics, Patience: s.RequestTimeout}
		},
		Metrics: func(all bool) map[string]any { return d.metrics(hardware, all) },
		Initial: func(config map[string]string) map[string]string {
			return undeclaredConfig(d.manager.Settings(), d.boot.Current(), config)
		},
		Targets: d.manager, LateBoot: d.boot.Late, Docs: docs, Cache: filepath.Join(d.env.Root, "tmp/balena-supervisor/state-report-cache"),
		Say: d.pipe.Say, Log: d.log,
	})
	if err == nil {
		d.manager.Poll = d.remote.Trigger
	}
	return err
}

// Tags and SetTags are the tags that the API hands on.
func (d *Device) Tags(ctx context.Context) ([]api.Tag, error) {
	list, err := d.remote.Tags(ctx)
	tags := make([]api.Tag, len(list))
	for i, t := range list {
		tags[i] = api.Tag(t)
	}
	return tags, err
}

func (d *Device) SetTags(set map[string]string) error { return d.remote.SetTags(set) }

// changed says that there may be something new to report.
func (d *Device) changed() {
	if d.remote != nil {
		d.remote.Changed()
	}
}

// appUUID asks the cloud for the uuid of an app, nil on a device without a cloud.
func (d *Device) appUUID() func(context.Context, int) (string, error) {
	if !d.config.Get().Managed() {
		return nil
	}
	return func(ctx context.Context, id int) (string, error) { return d.remote.AppUUID(ctx, id) }
}

// reportChanges follows what the report tells beside the apps.
func (d *Device) reportChanges(ctx context.Context) {
	under, err := hostos.WatchUndervoltage(ctx, "/dev/kmsg", d.changed)
	if err != nil {
		d.log.Warn().Err(err).Msg("cannot watch for low voltage")
	}
	d.undervoltage.Store(under)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.network.Changes():
			d.changed()
		}
	}
}

func (d *Device) identity() cloud.Identity {
	s := d.config.Get()
	return cloud.Identity{
		Endpoint: s.APIEndpoint, UUID: s.UUID, APIKey: s.APIKey, DeviceAPIKey: s.DeviceAPIKey, DeviceID: s.DeviceID,
		ApplicationID: s.ApplicationID, RegisteredAt: s.RegisteredAt, Name: s.InitialDeviceName,
		PollInterval: s.PollInterval, BootstrapDelay: s.BootstrapRetryDelay,
	}
}

// saveIdentity makes a change of the identity durable and lets containers know.
func (d *Device) saveIdentity(change map[string]any) error {
	if err := d.config.Update(change); err != nil {
		return err
	}
	return d.refreshFacts()
}

func (d *Device) cloudFacts(ring *key.Ring) cloud.Facts {
	f := d.Facts()
	return cloud.Facts{
		DeviceType: f.DeviceType, OSVersion: known(f.OSVersion), OSVariant: known(d.host.release.Variant(f.DevelopmentMode)),
		SupervisorVersion: f.SupervisorVersion, IPAddress: f.IPAddress, MACAddress: f.MACAddress, APIPort: f.APIPort, APISecret: ring.Global(),
	}
}

func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// metrics are the fields of the report that the hardware fills (docs/spec/cloud.md 4.8).
func (d *Device) metrics(h *hostos.Hardware, all bool) map[string]any {
	m := map[string]any{"is_undervolted": false}
	if u := d.undervoltage.Load(); u != nil {
		m["is_undervolted"] = u.Seen()
	}
	if !all {
		return m
	}
	s := h.Sample()
	m["cpu_usage"], m["cpu_temp"], m["memory_usage"], m["memory_total"] = s.CPUUsage, s.CPUTemp, s.MemoryUsage, s.MemoryTotal
	m["storage_block_device"], m["storage_usage"] = s.StorageBlockDevice, s.StorageUsage
	if s.StorageBlockDevice != "" {
		m["storage_total"] = s.StorageTotal
	}
	if s.CPUID != "" {
		m["cpu_id"] = s.CPUID
	}
	return m
}

// longestSplash is the longest splash image, as text, that the server takes (docs/spec/cloud.md 6.2).
const longestSplash = 13400

// undeclaredConfig is what is in effect here, differs from the default, and is not in a configuration of the
// cloud (docs/spec/cloud.md 2.6). Local mode and the VPN count as they are by default, and boot configuration
// has no default: what is there is told, so that the first target does not remove it.
func undeclaredConfig(s settings.Settings, boot, config map[string]string) map[string]string {
	said := settings.Fold(config)
	vars := settings.Current(s)
	maps.Copy(vars, boot)
	if len(vars[settings.SplashImage]) > longestSplash {
		delete(vars, settings.SplashImage) // refused, it would keep the device from its target for ever
	}
	delete(vars, settings.LocalMode)
	delete(vars, settings.VPNControl)
	for name := range said {
		delete(vars, name)
		if strings.EqualFold(name, settings.SplashImage) {
			delete(vars, settings.SplashImage)
		}
	}
	return vars
}
