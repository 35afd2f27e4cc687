package agent

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/key"
	"resin-supervisor/update/logs"
	"resin-supervisor/update/target"
)

// device answers what is known of this device, from memory.
type device struct {
	Environment
	*hostos.HostConfig
	config    *hostos.Config
	port      int
	log       zerolog.Logger
	release   hostos.OSRelease
	board     board.Type
	network   *hostos.Network
	cloud     *ping.Heartbeat
	remote    *cloud.Device // nil on a device without a cloud
	trust     *cloud.Trust
	keepAlive *cloud.KeepAlive
	manager   *update.Manager
	gauge     hostos.Gauge
	light     *led.LED
	// bootConfig is the boot configuration of the board.
	bootConfig *boot.Config
	pipe       *logs.Pipe
	firewall   firewall
	notice     string // what was wrong with config.json at the start

	refreshing   sync.Mutex
	undervoltage atomic.Pointer[hostos.Undervoltage]
}

func (d *device) readHost() {
	var err error
	if d.release, err = hostos.ReadOSRelease(d.osRelease); err != nil {
		d.log.Warn().Err(err).Msg("host OS version is unknown")
	}
	d.board = board.Read(d.boot, d.root)
}

// heartbeat tries to reach the cloud API while the VPN is down; without a cloud it rests.
func (d *device) heartbeat(ctx context.Context) *ping.Heartbeat {
	o := ping.Options{Dial: cloud.Dial, Changed: func(connected bool) {
		d.log.Info().Bool("connected", connected).Msg("connectivity of the cloud API")
		d.light.Lost(!connected)
	}}
	if o.Host, o.Port = d.config.Get().CloudAddress(); o.Host == "" {
		return ping.New(o)
	}
	var err error
	if o.VPN, err = ping.WatchVPN(ctx, d.vpn, nil); err != nil {
		d.log.Warn().Err(err).Msg("state of the VPN is not known, it counts as down")
	}
	return ping.New(o)
}

// GoesBy lets the API tell a name of the host from one of somebody else.
func (d *device) GoesBy(name string) bool {
	return hostos.GoesBy(d.root, d.config.Get().Hostname, name)
}

// Blink and EnablePing are asked for by the API.
func (d *device) Blink()             { d.light.Identify() }
func (d *device) EnablePing(on bool) { d.cloud.Enable(on) }

// restartProxy makes the host take up its proxy settings; one without systemd does so at its next start.
func (d *device) restartProxy() error {
	err := hostos.RestartProxy(context.Background(), d.bus)
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
func (d *device) VPN(ctx context.Context) (enabled, connected bool) {
	ctx, cancel := context.WithTimeout(ctx, vpnPatience)
	defer cancel()
	state, err := d.bus.UnitState(ctx, "openvpn.service")
	if err != nil {
		d.log.Debug().Err(err).Msg("state of the VPN unit is not known")
	}
	_, missing := os.Stat(filepath.Join(d.vpn, "active"))
	return state != "" && state != "inactive" && state != "deactivating", missing == nil
}

// Listen and Journal are the logs that the API hands on.
func (d *device) Listen(inScope func(appID int) bool) api.Lines { return d.pipe.Listen(inScope) }

func (d *device) Journal(q api.JournalQuery) (io.ReadCloser, error) {
	return hostos.ReadJournal(d.root, hostos.JournalQuery(q))
}

// power is the way to logind (docs/spec/device-api.md 2.5).
func (d *device) power() update.Power {
	return update.Power{Ready: d.bus.LogindReady, Reboot: d.bus.Reboot, PowerOff: d.bus.PowerOff, Updating: []string{
		filepath.Join(d.state, "rollback-health-breadcrumb"), filepath.Join(d.state, "rollback-altboot-breadcrumb"),
	}}
}

func (d *device) exists(path string) bool {
	_, err := os.Stat(filepath.Join(d.root, path))
	return err == nil
}

func (d *device) composeFacts() compose.Facts {
	s := d.config.Get()
	if s.Hostname == "" {
		var err error
		if s.Hostname, err = hostos.ReadHostname(d.root); err != nil {
			d.log.Warn().Err(err).Msg("host name is unknown")
		}
	}
	return compose.Facts{
		UUID: s.UUID, DeviceType: d.board.Slug, Arch: d.board.Arch, OSVersion: d.release["PRETTY_NAME"],
		BoardRev: d.release.BoardRevision(), Hostname: s.Hostname, APIEndpoint: s.APIEndpoint, DeviceAPIKey: s.DeviceAPIKey,
		ListenPort: d.port, Gateway: compose.SupervisorGateway, EngineSocket: d.socket,
		KernelModules: d.exists("lib/modules"), Firmware: d.exists("lib/firmware"),
	}
}

// refreshFacts lets containers know what the device contributes to them now. It waits for the update loop.
func (d *device) refreshFacts() error {
	d.refreshing.Lock() // so that nobody hands on what is older
	defer d.refreshing.Unlock()
	return d.manager.SetFacts(d.composeFacts())
}

// followHost keeps the services that carry the host's name up to date (docs/spec/engine.md 4.2).
func (d *device) followHost(ctx context.Context) {
	refresh := func() { go func() { _ = d.refreshFacts() }() }
	d.config.Follow(refresh)
	if err := hostos.WatchHostname(ctx, d.root, refresh); err != nil {
		d.log.Warn().Err(err).Msg("changes of the host name are not seen")
	}
}

func (d *device) contractFacts() target.ContractFacts {
	kernel, release := hostos.Kernel()
	facts := target.ContractFacts{
		{Type: "sw.supervisor", Version: d.version},
		{Type: "sw.application", Slug: "balena-supervisor", Version: d.version},
		{Type: "hw.device-type", Slug: d.board.Slug},
		{Type: "arch.sw", Slug: d.board.Arch},
		{Type: "sw.os", Slug: d.release["ID"], Version: d.release["VERSION"]},
		{Type: "sw.kernel", Slug: kernel, Version: hostos.KernelVersion(release)},
		{Type: "sw.l4t", Version: hostos.L4T(release)},
	}
	return slices.DeleteFunc(facts, func(f target.Fact) bool { return f.Slug == "" && f.Version == "" })
}

// registryAuth is what the engine shows to a registry (docs/spec/engine.md 1.4).
func (d *device) registryAuth(registry string) *doc.AuthConfig {
	name, secret := d.login()
	if registry == "" || !d.config.Get().Managed() || secret == "" {
		return nil
	}
	return &doc.AuthConfig{Username: name, Password: secret, ServerAddress: registry}
}

// askRegistry asks a registry as the cloud is asked.
func (d *device) askRegistry(ctx context.Context, u *url.URL, auth, accept, part string) (status int, body []byte, challenge string, err error) {
	return cloud.Get(ctx, d.userAgent(), d.trust, d.keepAlive, u, auth, accept, part)
}

// free is how many bytes there is room for where the engine keeps its images: its directory, seen below
// the host's root or directly, or else the data partition.
func (d *device) free(engineRoot string) (int64, error) {
	for _, directory := range []string{filepath.Join(d.root, engineRoot), engineRoot} {
		// An empty directory would be a mount point without what is mounted there.
		if _, err := os.Stat(filepath.Join(directory, "containers")); err == nil {
			return hostos.Free(directory)
		}
	}
	return hostos.Free(d.data)
}

// deltas is the way to the delta server, nil on a device without a cloud.
func (d *device) deltas() update.Deltas {
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

func (d *device) client(base string) (*cloud.Client, error) {
	return cloud.New(base, d.userAgent(), d.trust, d.keepAlive)
}

// userAgent is what the cloud knows the agent by (docs/spec/cloud.md 0.2).
func (d *device) userAgent() string {
	agent := "Supervisor/" + d.version
	s := d.config.Get()
	name, variant := d.release["PRETTY_NAME"], d.release.Variant(s.DevelopmentMode)
	switch {
	case name == "":
		return agent
	case variant == "":
		return agent + " (Linux; " + name + ")"
	}
	return agent + " (Linux; " + name + "; " + variant + ")"
}

// login is the name and secret that the device shows to the registry and for registry tokens.
func (d *device) login() (name, secret string) {
	s := d.config.Get()
	if secret = s.APIKey; secret == "" {
		secret = s.DeviceAPIKey
	}
	return "d_" + s.UUID, secret
}

// ownImage is the image the agent runs from, zero when nobody said.
func (d *device) ownImage() target.Reference {
	if d.image == "" {
		return target.Reference{}
	}
	r, err := target.ParseReference(d.image)
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
func (d *device) Facts() api.DeviceFacts {
	s := d.config.Get()
	ips, macs := d.network.Addresses()
	return api.DeviceFacts{
		APIPort: d.port, IPAddress: strings.Join(ips, " "), MACAddress: strings.Join(macs, " "),
		OSVersion: d.release["PRETTY_NAME"], SupervisorVersion: d.version,
		Arch: d.board.Arch, DeviceType: d.board.Slug, Managed: s.Managed(), Registered: s.DeviceID != 0, DevelopmentMode: s.DevelopmentMode,
		CloudReachable: d.cloud.Connected(), ConfigNotice: d.notice,
	}
}

// Vitals is what the metrics tell of process and board.
func (d *device) Vitals() api.Vitals {
	return api.Vitals{Resident: d.gauge.Resident(), CPU: d.gauge.CPU(), CPUCelsius: d.gauge.Celsius()}
}

// Healthy runs the checks of the health endpoint; an unmanaged device passes all of them.
func (d *device) Healthy() bool {
	now := time.Now()
	return d.remote == nil || d.cloud.Connected() && d.manager.Healthy(now) && d.remote.Healthy(now)
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
