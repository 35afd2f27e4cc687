// Package device is this device as the other parts of the supervisor see it: what the API tells of it, what the cloud is
// told, and what the update engine may do with it. It answers from hostos, arm, ping and update.
package device

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/api"
	"resin-supervisor/arm/board"
	"resin-supervisor/arm/boot"
	"resin-supervisor/arm/led"
	"resin-supervisor/hostos"
	"resin-supervisor/ping"
	"resin-supervisor/update"
	"resin-supervisor/update/cloud"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/delta"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/key"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/logs"
	"resin-supervisor/update/reconcile"
	"resin-supervisor/update/store"
	"resin-supervisor/update/target"
)

// Device is this device as the API, the cloud and the update engine see it. It answers from memory.
type Device struct {
	*hostos.HostConfig
	env       *hostos.Environment
	config    *hostos.Config
	notice    string // what was wrong with config.json at the start
	log       zerolog.Logger
	port      int
	host      host
	network   *hostos.Network
	heartbeat *ping.Heartbeat
	remote    *cloud.Device // nil on a device without a cloud
	trust     *cloud.Trust
	keepAlive *cloud.KeepAlive
	manager   *update.Manager
	gauge     hostos.Gauge
	light     *led.LED
	boot      *boot.Config // boot configuration of the board
	pipe      *logs.Pipe   // the log of the device
	firewall  firewall

	refreshing   sync.Mutex
	undervoltage atomic.Pointer[hostos.Undervoltage]
}

// host is what does not change while the supervisor runs.
type host struct {
	release hostos.OSRelease
	board   board.Type
}

// New reads what there is to know of the host and the board. It starts nothing.
func New(e *hostos.Environment, docs *store.Store, log zerolog.Logger) (*Device, error) {
	config, notice, err := keepConfig(e, docs, log)
	if err != nil {
		return nil, err
	}
	d := &Device{env: e, config: config, notice: notice, port: config.Get().APIPort(e.ListenPort), log: log, gauge: hostos.NewGauge()}
	d.trust = cloud.NewTrust(func() *x509.CertPool {
		return cloud.Roots([]string{"/", e.Root}, e.ExtraCerts, e.OwnCert, config.Get().RootCA)
	})
	d.keepAlive = &cloud.KeepAlive{Ended: func() { d.manager.ConversationEnded() }}
	d.readHost()
	d.light = led.New(e.LED, e.Root, log)
	d.HostConfig = hostos.NewHostConfig(config, e.Root, e.Boot, d.restartProxy, log)
	d.boot = boot.New(boot.Options{
		Dir: e.Boot, Root: e.Root, Slug: d.host.board.Slug, FromTree: d.host.board.FromTree, Release: d.host.release.Meta(), Power: config,
	})
	return d, nil
}

// Join builds the parts that belong together: the log of the device, the update engine and, if the device has a cloud,
// the way to it. It starts nothing.
func (d *Device) Join(docs *store.Store, ring *key.Ring, locks *lock.Dir) error {
	e := engine.New(d.env.Socket)
	d.pipe = d.openLog(e, docs)
	d.firewall.set = d.filter(d.pipe.Say)
	var err error
	if d.manager, err = update.New(d.updateOptions(e, docs, ring, locks)); err != nil {
		return err
	}
	return d.joinCloud(docs, ring)
}

// Port is the port of the device API.
func (d *Device) Port() int { return d.port }

// Managed tells whether the device has a cloud.
func (d *Device) Managed() bool { return d.config.Get().Managed() }

// API answers requests to the device API.
func (d *Device) API(ring *key.Ring) *api.Server {
	return api.New(d.manager, keys{ring, d.changed, d.manager.KeyChanged}, d, d.log)
}

// Watch follows what changes on the host until ctx ends. It calls stop when config.json makes another device of this
// one.
func (d *Device) Watch(ctx context.Context, stop func()) {
	d.network = hostos.WatchNetwork(ctx, d.env.Interfaces, d.log)
	d.heartbeat = d.newHeartbeat(ctx)
	d.heartbeat.Configure(d.manager.Settings().ConnectivityCheck)
	d.followHost(ctx)
	if err := d.config.Watch(ctx, d.exitOnIdentityChange(stop), d.log); err != nil {
		d.log.Warn().Err(err).Msg("cannot watch config.json, changes by others count after the next start")
	}
}

// Run runs all parts but the API until ctx ends. It returns when the last of them has ended.
func (d *Device) Run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { d.heartbeat.Run(ctx); d.light.Close() })
	d.pipe.Say("Supervisor starting", false)
	if d.notice != "" {
		d.pipe.Say(d.notice, true)
	}
	go d.firewall.begin()
	d.loadTables()
	parts.Go(func() { d.pipe.Run(ctx) })
	if err := hostos.WatchUnits(ctx, d.env.Root, d.pipe.AttachHost); err != nil {
		d.log.Warn().Err(err).Msg("host unit logs unavailable")
	}
	parts.Go(func() { d.manager.Run(ctx) })
	if d.remote != nil {
		parts.Go(func() { d.reportChanges(ctx) })
		parts.Go(func() { d.remote.Run(ctx) })
	}
	parts.Wait()
}

func (d *Device) readHost() {
	var err error
	if d.host.release, err = hostos.ReadOSRelease(d.env.OSRelease); err != nil {
		d.log.Warn().Err(err).Msg("host OS version is unknown")
	}
	d.host.board = board.Read(d.env.Boot, d.env.Root)
}

// newHeartbeat tries to reach the cloud API while the VPN is down; without a cloud it rests.
func (d *Device) newHeartbeat(ctx context.Context) *ping.Heartbeat {
	o := ping.Options{Dial: cloud.Dial, Changed: func(connected bool) {
		d.log.Info().Bool("connected", connected).Msg("connectivity of the cloud API")
		d.light.Lost(!connected)
	}}
	if o.Host, o.Port = d.config.Get().CloudAddress(); o.Host == "" {
		return ping.New(o)
	}
	var err error
	if o.VPN, err = ping.WatchVPN(ctx, d.env.VPNStatus, nil); err != nil {
		d.log.Warn().Err(err).Msg("state of the VPN is not known, it counts as down")
	}
	return ping.New(o)
}

// GoesBy lets the API tell a name of the host from one of somebody else.
func (d *Device) GoesBy(name string) bool {
	return hostos.GoesBy(d.env.Root, d.config.Get().Hostname, name)
}

// Blink and EnablePing are asked for by the API.
func (d *Device) Blink()             { d.light.Identify() }
func (d *Device) EnablePing(on bool) { d.heartbeat.Enable(on) }

// restartProxy makes the host take up its proxy settings; one without systemd does so at its next start.
func (d *Device) restartProxy() error {
	err := hostos.RestartProxy(context.Background(), d.env.Bus)
	if errors.Is(err, hostos.ErrNoUnits) {
		d.log.Warn().Err(err).Msg("proxy settings take effect at the next start of the host")
		return nil
	}
	return err
}

// vpnPatience bounds the look at the unit of the VPN: somebody waits for the answer.
const vpnPatience = 5 * time.Second

// VPN looks at the host's VPN (docs/spec/device-api.md 2.25). A host without systemd, or with one that does
// not answer, has none to enable.
func (d *Device) VPN(ctx context.Context) (enabled, connected bool) {
	ctx, cancel := context.WithTimeout(ctx, vpnPatience)
	defer cancel()
	state, err := d.env.Bus.UnitState(ctx, "openvpn.service")
	if err != nil {
		d.log.Debug().Err(err).Msg("state of the VPN unit is not known")
	}
	_, missing := os.Stat(filepath.Join(d.env.VPNStatus, "active"))
	return state != "" && state != "inactive" && state != "deactivating", missing == nil
}

// Listen and Journal are the logs that the API hands on.
func (d *Device) Listen(inScope func(appID int) bool) api.Lines { return d.pipe.Listen(inScope) }

func (d *Device) Journal(q api.JournalQuery) (io.ReadCloser, error) {
	return hostos.ReadJournal(d.env.Root, hostos.JournalQuery(q))
}

// power is the way to logind (docs/spec/device-api.md 2.5).
func (d *Device) power() reconcile.Power {
	return reconcile.Power{Ready: d.env.Bus.LogindReady, Reboot: d.env.Bus.Reboot, PowerOff: d.env.Bus.PowerOff, Updating: []string{
		filepath.Join(d.env.State, "rollback-health-breadcrumb"), filepath.Join(d.env.State, "rollback-altboot-breadcrumb"),
	}}
}

func (d *Device) exists(path string) bool {
	_, err := os.Stat(filepath.Join(d.env.Root, path))
	return err == nil
}

func (d *Device) composeFacts() compose.Facts {
	s := d.config.Get()
	if s.Hostname == "" {
		var err error
		if s.Hostname, err = hostos.ReadHostname(d.env.Root); err != nil {
			d.log.Warn().Err(err).Msg("host name is unknown")
		}
	}
	return compose.Facts{
		UUID: s.UUID, DeviceType: d.host.board.Slug, Arch: d.host.board.Arch, OSVersion: d.host.release["PRETTY_NAME"],
		BoardRev: d.host.release.BoardRevision(), Hostname: s.Hostname, APIEndpoint: s.APIEndpoint, DeviceAPIKey: s.DeviceAPIKey,
		ListenPort: d.port, Gateway: compose.SupervisorGateway, EngineSocket: d.env.Socket,
		KernelModules: d.exists("lib/modules"), Firmware: d.exists("lib/firmware"),
	}
}

// refreshFacts lets containers know what the device contributes to them now. It waits for the update loop.
func (d *Device) refreshFacts() error {
	d.refreshing.Lock() // so that nobody hands on what is older
	defer d.refreshing.Unlock()
	return d.manager.SetFacts(d.composeFacts())
}

// followHost keeps the services that carry the host's name up to date (docs/spec/engine.md 4.2).
func (d *Device) followHost(ctx context.Context) {
	refresh := func() { go func() { _ = d.refreshFacts() }() }
	d.config.Follow(refresh)
	if err := hostos.WatchHostname(ctx, d.env.Root, refresh); err != nil {
		d.log.Warn().Err(err).Msg("changes of the host name are not seen")
	}
}

func (d *Device) contractFacts() target.ContractFacts {
	kernel, release := hostos.Kernel()
	var facts target.ContractFacts
	add := func(kind, slug, version string) {
		if slug != "" || version != "" {
			facts = append(facts, target.Fact{Type: kind, Slug: slug, Version: version})
		}
	}
	add("sw.supervisor", "", d.env.Version)
	add("sw.application", "balena-supervisor", d.env.Version)
	add("hw.device-type", d.host.board.Slug, "")
	add("arch.sw", d.host.board.Arch, "")
	add("sw.os", d.host.release["ID"], d.host.release["VERSION"])
	add("sw.kernel", kernel, hostos.KernelVersion(release))
	add("sw.l4t", "", hostos.L4T(release))
	return facts
}

// registryAuth is what the engine shows to a registry (docs/spec/engine.md 1.4).
func (d *Device) registryAuth(registry string) *doc.AuthConfig {
	name, secret := d.login()
	if registry == "" || !d.config.Get().Managed() || secret == "" {
		return nil
	}
	return &doc.AuthConfig{Username: name, Password: secret, ServerAddress: registry}
}

// askRegistry asks a registry as the cloud is asked.
func (d *Device) askRegistry(ctx context.Context, u *url.URL, auth, accept, part string) (status int, body []byte, challenge string, err error) {
	return cloud.Get(ctx, d.userAgent(), d.trust, d.keepAlive, u, auth, accept, part)
}

// free is how many bytes there is room for where the engine keeps its images: its directory, seen below
// the host's root or directly, or else the data partition.
func (d *Device) free(engineRoot string) (int64, error) {
	for _, directory := range []string{filepath.Join(d.env.Root, engineRoot), engineRoot} {
		// An empty directory would be a mount point without what is mounted there.
		if _, err := os.Stat(filepath.Join(directory, "containers")); err == nil {
			return hostos.Free(directory)
		}
	}
	return hostos.Free(d.env.Data)
}

// deltas is the way to the delta server, nil on a device without a cloud.
func (d *Device) deltas() delta.Source {
	s := d.config.Get()
	if !s.Managed() {
		return nil
	}
	api, errA := d.client(s.APIEndpoint)
	server, errB := d.client(s.DeltaEndpoint)
	if err := errors.Join(errA, errB); err != nil {
		d.log.Error().Err(err).Msg("images are downloaded as a whole, since there is no delta server")
		return nil
	}
	return &cloud.Deltas{API: api, Server: server, Login: d.login}
}

func (d *Device) client(base string) (*cloud.Client, error) {
	return cloud.New(base, d.userAgent(), d.trust, d.keepAlive)
}

// userAgent is what the cloud knows the agent by (docs/spec/cloud.md 0.2).
func (d *Device) userAgent() string {
	agent := "Supervisor/" + d.env.Version
	s := d.config.Get()
	name, variant := d.host.release["PRETTY_NAME"], d.host.release.Variant(s.DevelopmentMode)
	switch {
	case name == "":
		return agent
	case variant == "":
		return agent + " (Linux; " + name + ")"
	}
	return agent + " (Linux; " + name + "; " + variant + ")"
}

// login is the name and secret that the device shows to the registry and for registry tokens.
func (d *Device) login() (name, secret string) {
	s := d.config.Get()
	if secret = s.APIKey; secret == "" {
		secret = s.DeviceAPIKey
	}
	return "d_" + s.UUID, secret
}

// ownImage is the image the agent runs from, zero when nobody said.
func (d *Device) ownImage() target.Reference {
	if d.env.Image == "" {
		return target.Reference{}
	}
	r, err := target.ParseReference(d.env.Image)
	if err != nil {
		d.log.Warn().Err(err).Msg("image of the agent is not known")
		return target.Reference{}
	}
	if r.Tag == "" {
		r.Tag = "latest"
	}
	return r
}

// Facts is what the API tells of the device.
func (d *Device) Facts() api.DeviceFacts {
	s := d.config.Get()
	ips, macs := d.network.Addresses()
	return api.DeviceFacts{
		APIPort: d.port, IPAddress: strings.Join(ips, " "), MACAddress: strings.Join(macs, " "),
		OSVersion: d.host.release["PRETTY_NAME"], SupervisorVersion: d.env.Version,
		Arch: d.host.board.Arch, DeviceType: d.host.board.Slug, Managed: s.Managed(), Registered: s.DeviceID != 0, DevelopmentMode: s.DevelopmentMode,
		CloudReachable: d.heartbeat.Connected(), ConfigNotice: d.notice,
	}
}

// Vitals is what the metrics tell of process and board.
func (d *Device) Vitals() api.Vitals {
	return api.Vitals{Resident: d.gauge.Resident(), CPU: d.gauge.CPU(), CPUCelsius: d.gauge.Celsius()}
}

// Healthy runs the checks of the health endpoint; an unmanaged device passes all of them.
func (d *Device) Healthy() bool {
	now := time.Now()
	return d.remote == nil || d.heartbeat.Connected() && d.manager.Healthy(now) && d.remote.Healthy(now)
}

// keys lets the API see the keyring as it needs it.
type keys struct {
	ring    *key.Ring
	changed func() // the report has a new key to tell
	renewed func() // a service has a new key
}

func (k keys) Lookup(word string) (appID int, global, ok bool) {
	scope, ok := k.ring.Lookup(word)
	return scope.AppID, scope.Global, ok
}

func (k keys) Regenerate(word string) (string, error) {
	fresh, scope, err := k.ring.Regenerate(word)
	switch {
	case errors.Is(err, key.ErrUnknown):
		err = api.ErrUnknownKey
	case err != nil:
	case scope.Global:
		k.changed()
	default:
		k.renewed()
	}
	return fresh, err
}
