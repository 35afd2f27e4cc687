// Resin-supervisor keeps the apps of a device running as its target state says. This file reads the
// environment, builds the parts, starts them and stops them.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/api"
	"resin-supervisor/api/client"
	"resin-supervisor/arm/board"
	"resin-supervisor/arm/led"
	"resin-supervisor/build/version"
	"resin-supervisor/hostos"
	"resin-supervisor/hostos/dbus"
	"resin-supervisor/ping"
	"resin-supervisor/update"
	"resin-supervisor/update/cloud"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/key"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/logs"
	"resin-supervisor/update/store"
	"resin-supervisor/update/target"
)

const usage = `resin-supervisor keeps the apps of this device running as its target state says.

Usage: resin-supervisor [command]

  (none)       run the supervisor
  status       show the device, its services and what is being done
    --watch      again and again, until Ctrl-C
    --json       as one line of JSON, for scripts
  healthcheck  exit with 0 if the supervisor is healthy, else with 1
  api-key      print the global API key
  version      print the version
`

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "resin-supervisor:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	e := readEnvironment(os.Getenv)
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if len(args) > 1 && (args[1] == "-h" || args[1] == "--help") || name == "-h" || name == "--help" || name == "help" {
		_, err := os.Stdout.WriteString(usage)
		return err
	}
	if len(args) > 1 && name != "status" {
		return fmt.Errorf("%s takes no arguments", name)
	}
	switch name {
	case "":
		return daemon(e)
	case "status":
		return status(e, args[1:])
	case "healthcheck":
		return dial(e, "", healthPatience).Healthy(context.Background())
	case "api-key":
		key, err := globalKey(e)
		if err == nil {
			fmt.Println(key)
		}
		return err
	case "version":
		fmt.Println(version.String())
		return nil
	}
	return fmt.Errorf("unknown command %q, see resin-supervisor -h", name)
}

// How long the commands wait for the supervisor.
const (
	healthPatience = 30 * time.Second
	statusPatience = 10 * time.Second
)

// environment is the container contract of the supervisor (spec/cloud.md 0.4).
type environment struct {
	socket, port, root, boot, data, config, osRelease, macs, vpn, stateDir string
	image, container, extraCerts, ownCert, led, state                      string
	bus                                                                    *dbus.Bus
}

// readEnvironment takes empty values, and the words null and undefined, for unset.
func readEnvironment(get func(string) string) environment {
	value := func(name, fallback string) string {
		switch v := get(name); v {
		case "", "null", "undefined":
			return fallback
		default:
			return v
		}
	}
	boot, root := value("BOOT_MOUNTPOINT", "/mnt/boot"), value("ROOT_MOUNTPOINT", "/mnt/root")
	return environment{
		socket:    strings.TrimPrefix(value("DOCKER_SOCKET", "/var/run/docker.sock"), "unix://"),
		port:      value("LISTEN_PORT", ""),
		root:      root,
		boot:      boot,
		data:      value("DATA_MOUNTPOINT", "/mnt/data"),
		config:    value("CONFIG_MOUNT_POINT", filepath.Join(boot, "config.json")),
		osRelease: value("HOST_OS_VERSION_PATH", "/mnt/root/etc/os-release"),
		macs:      value("MAC_ADDRESS_PATH", "/sys/class/net"),
		vpn:       value("VPN_STATUS_PATH", "/mnt/root/run/openvpn/vpn_status"),
		stateDir:  value("SUPERVISOR_STATE_DIR", "/data"),

		state: value("STATE_MOUNTPOINT", "/mnt/state"),
		bus: dbus.New(value("DBUS_SYSTEM_BUS_ADDRESS", ""),
			"/run/dbus/system_bus_socket", filepath.Join(root, "run/dbus/system_bus_socket")),
		image:      value("SUPERVISOR_IMAGE", ""),
		container:  value("SUPERVISOR_CONTAINER_ID", ""),
		extraCerts: value("NODE_EXTRA_CA_CERTS", ""),
		ownCert:    value("BALENA_ROOT_CA", ""),
		led:        value("LED_FILE", ""),
	}
}

// globalKey reads the key of the supervisor that runs, or makes the one of the first that will.
func globalKey(e environment) (string, error) {
	docs, err := store.Visit(e.stateDir, zerolog.New(os.Stderr))
	if err != nil {
		return "", err
	}
	ring, err := key.Open(docs)
	if err != nil {
		return "", err
	}
	return ring.Global(), nil
}

// listenPort is the port of the device API: config.json says it, else the environment.
func listenPort(e environment) int {
	config, err := hostos.OpenConfig(e.config)
	if err != nil {
		return 48484
	}
	return config.Get().APIPort(e.port)
}

func dial(e environment, key string, patience time.Duration) *client.Client {
	return client.New(net.JoinHostPort("127.0.0.1", strconv.Itoa(listenPort(e))), key, patience)
}

func status(e environment, flags []string) error {
	show, err := client.ParseShow(flags)
	if err != nil {
		return err
	}
	key, err := globalKey(e)
	if err != nil {
		return err
	}
	return dial(e, key, statusPatience).Show(context.Background(), show, os.Stdout)
}

// daemon runs the supervisor until a signal ends it. Parts are built and started in the order in
// which they need one another; nothing here waits for the engine, so the API answers at once.
func daemon(e environment) error {
	runtime.GOMAXPROCS(min(runtime.NumCPU(), 2))
	debug.SetGCPercent(50)         // of a live megabyte: what an apply scatters stays behind in pieces
	debug.SetMemoryLimit(24 << 20) // a safety net, far above what is used
	log := zerolog.New(os.Stderr).With().Timestamp().Logger().Level(zerolog.InfoLevel)

	config, err := hostos.OpenConfig(e.config)
	if err != nil {
		return err
	}
	if err := config.EnsureIdentity(); err != nil {
		return err
	}
	docs, err := store.Open(e.stateDir, log)
	if err != nil {
		return err
	}
	ring, err := key.Open(docs)
	if err != nil {
		return err
	}
	locks := lock.New(e.root)
	if err := locks.Prepare(); err != nil {
		log.Warn().Err(err).Msg("update lock directory is not ready")
	}
	d := &device{environment: e, config: config, port: config.Get().APIPort(e.port), log: log, gauge: hostos.NewGauge()}
	d.roots = sync.OnceValue(func() *x509.CertPool {
		return cloud.Roots([]string{"/", d.root}, d.extraCerts, d.ownCert, config.Get().RootCA)
	})
	d.readHost()
	containers := engine.New(e.socket)
	pipe := d.openLog(containers, docs)
	d.light = led.New(e.led, log)
	d.HostConfig = hostos.NewHostConfig(config, e.root, e.boot, d.restartProxy, log)
	manager, err := update.New(update.Options{
		Engine: containers, Say: pipe.Say, Attach: pipe.Attach, Docs: docs, Keys: ring, Locks: locks, Facts: d.composeFacts(),
		Auth: d.registryAuth, PollInterval: config.Get().PollInterval, PersistentLogging: config.Get().PersistentLogging,
		StoreSettings: config.StoreSettings, Configured: d.configured(pipe), VPN: d.switchVPN, CanDiscover: true, Container: e.container, Endpoint: config.Get().APIEndpoint,
		UUID: func() string { return config.Get().UUID }, Changed: d.changed, AppUUID: d.appUUID(),
		PreloadPath: filepath.Join(e.data, "apps.json"), Contracts: d.contractFacts(),
		Booted: hostos.Booted(), Breadcrumb: filepath.Join(e.root, "tmp/balena-supervisor/reboot-after-apply"), Log: log,
		Image: d.ownImage(), Deltas: d.deltas(), Power: d.power(), NoteFirmware: config.NoteFirmwareVolume,
	})
	if err != nil {
		return err
	}
	d.manager = manager
	if err := d.join(docs, ring, pipe); err != nil {
		return err
	}
	listener, err := api.Listen(":" + strconv.Itoa(d.port))
	if err != nil {
		return err
	}
	log.Info().Str("version", version.String()).Int("port", d.port).Bool("managed", config.Get().Managed()).Msg("supervisor starting")

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d.network = hostos.WatchNetwork(ctx, e.macs, log)
	d.cloud = d.heartbeat(ctx)
	d.cloud.Configure(manager.Settings().ConnectivityCheck)
	if err := config.Watch(ctx, d.becomes(stop), log); err != nil {
		log.Warn().Err(err).Msg("changes of config.json by others are not seen")
	}
	var parts sync.WaitGroup
	parts.Go(func() { d.cloud.Run(ctx); d.light.Close() })
	pipe.Say("Supervisor starting", false)
	parts.Go(func() { pipe.Run(ctx) })
	parts.Go(func() { manager.Run(ctx) })
	if d.remote != nil {
		parts.Go(func() { d.reportChanges(ctx) })
		parts.Go(func() { d.remote.Run(ctx) })
	}
	parts.Go(func() {
		d.pipe = pipe
		if err := api.New(apps{manager, d.remote}, keys{ring, d.changed}, d, log).Serve(ctx, listener); err != nil {
			log.Error().Err(err).Msg("device API ended")
			stop()
		}
	})
	return untilSignal(ctx, stop, &parts)
}

// untilSignal waits for the end, lets the parts finish what cannot be broken off, and ends the
// process as its service manager expects (spec/device-api.md 1.11).
func untilSignal(ctx context.Context, stop func(), parts *sync.WaitGroup) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-ctx.Done():
		parts.Wait()
		return errors.New("a part of the supervisor ended")
	case s := <-signals:
		stop()
		parts.Wait()
		os.Exit(128 + int(s.(syscall.Signal)))
		return nil
	}
}

// device answers what is known of this device, from memory.
type device struct {
	environment
	*hostos.HostConfig
	config   *hostos.Config
	port     int
	log      zerolog.Logger
	release  hostos.OSRelease
	hostname string
	board    board.Type
	network  *hostos.Network
	cloud    *ping.Heartbeat
	remote   *cloud.Device   // nil on a device without a cloud
	queue    *cloud.TagQueue // nil on a device with one
	roots    func() *x509.CertPool
	manager  *update.Manager
	gauge    hostos.Gauge
	light    *led.LED
	pipe     *logs.Pipe

	undervoltage atomic.Pointer[hostos.Undervoltage]
}

func (d *device) readHost() {
	var err error
	if d.release, err = hostos.ReadOSRelease(d.osRelease); err != nil {
		d.log.Warn().Err(err).Msg("host OS version is unknown")
	}
	if d.hostname = d.config.Get().Hostname; d.hostname == "" {
		if d.hostname, err = hostos.ReadHostname(d.root); err != nil {
			d.log.Warn().Err(err).Msg("host name is unknown")
		}
	}
	d.board = board.Read(d.boot)
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

// VPN looks at the host's VPN (spec/device-api.md 2.25). A host without systemd has none to enable.
func (d *device) VPN(ctx context.Context) (enabled, connected bool) {
	state, err := d.bus.UnitState(ctx, "openvpn.service")
	if err != nil {
		d.log.Debug().Err(err).Msg("state of the VPN unit is not known")
	}
	_, missing := os.Stat(filepath.Join(d.vpn, "active"))
	return state != "" && state != "inactive" && state != "deactivating", missing == nil
}

// Listen and Journal are the logs that the API hands on.
func (d *device) Listen() api.Lines { return d.pipe.Listen() }

func (d *device) Journal(q api.JournalQuery) (io.ReadCloser, error) {
	return hostos.ReadJournal(d.root, hostos.JournalQuery(q))
}

// power is the way to logind (spec/device-api.md 2.5).
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
	return compose.Facts{
		UUID: s.UUID, DeviceType: d.board.Slug, Arch: d.board.Arch, OSVersion: d.release["PRETTY_NAME"],
		BoardRev: d.release.BoardRevision(), Hostname: d.hostname, APIEndpoint: s.APIEndpoint, DeviceAPIKey: s.DeviceAPIKey,
		ListenPort: d.port, Gateway: compose.SupervisorGateway, EngineSocket: d.socket,
		KernelModules: d.exists("lib/modules"), Firmware: d.exists("lib/firmware"),
	}
}

func (d *device) contractFacts() target.ContractFacts {
	kernel, release := hostos.Kernel()
	facts := target.ContractFacts{
		{Type: "sw.supervisor", Version: version.String()},
		{Type: "sw.application", Slug: "balena-supervisor", Version: version.String()},
		{Type: "hw.device-type", Slug: d.board.Slug},
		{Type: "arch.sw", Slug: d.board.Arch},
		{Type: "sw.os", Slug: d.release["ID"], Version: d.release["VERSION"]},
		{Type: "sw.kernel", Slug: kernel, Version: release},
		{Type: "sw.l4t", Version: hostos.L4T(release)},
	}
	return slices.DeleteFunc(facts, func(f target.Fact) bool { return f.Slug == "" && f.Version == "" })
}

// registryAuth is what the engine shows to a registry (spec/engine.md 1.4).
func (d *device) registryAuth(registry string) *doc.AuthConfig {
	name, secret := d.login()
	if registry == "" || !d.config.Get().Managed() || secret == "" {
		return nil
	}
	return &doc.AuthConfig{Username: name, Password: secret, ServerAddress: registry}
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
	return cloud.New(base, d.userAgent(), d.roots)
}

// userAgent is what the cloud knows the agent by (spec/cloud.md 0.2).
func (d *device) userAgent() string {
	agent := "Supervisor/" + version.String()
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
		OSVersion: d.release["PRETTY_NAME"], SupervisorVersion: version.String(),
		Arch: d.board.Arch, DeviceType: d.board.Slug, Managed: s.Managed(), Registered: s.DeviceID != 0, DevelopmentMode: s.DevelopmentMode,
		CloudReachable: d.cloud.Connected(),
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
}

func (k keys) Lookup(word string) (appID int, global, ok bool) {
	scope, ok := k.ring.Lookup(word)
	return scope.AppID, scope.Global, ok
}

func (k keys) Regenerate(word string) (string, error) {
	fresh, _, err := k.ring.Regenerate(word)
	k.changed()
	return fresh, err
}
