// Package agent puts the supervisor together: it builds the parts, hands each what it needs of the
// others, starts them and stops them. Only main knows it.
package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"resin-supervisor/api"
	"resin-supervisor/arm/boot"
	"resin-supervisor/arm/led"
	"resin-supervisor/hostos"
	"resin-supervisor/update"
	"resin-supervisor/update/cloud"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/key"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/store"
)

// Run runs the supervisor until a signal ends it, or a part of it does, which is an error. Parts are built and started in the order in
// which they need one another; nothing here waits for the engine, so the API answers at once.
func Run(e Environment) error {
	runtime.GOMAXPROCS(1)          // each costs memory of its own, and there is little to do at once
	debug.SetGCPercent(50)         // of a live megabyte: what an apply scatters stays behind in pieces
	debug.SetMemoryLimit(24 << 20) // a safety net, far above what is used
	log := zerolog.New(os.Stderr).With().Timestamp().Logger().Level(zerolog.InfoLevel)

	docs, err := store.Open(e.stateDir, log)
	if err != nil {
		return err
	}
	config, notice, err := e.keepConfig(docs, log)
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
	d := &device{Environment: e, config: config, port: config.Get().APIPort(e.port), log: log, gauge: hostos.NewGauge(), notice: notice}
	d.trust = cloud.NewTrust(func() *x509.CertPool {
		return cloud.Roots([]string{"/", d.root}, d.extraCerts, d.ownCert, config.Get().RootCA)
	})
	d.keepAlive = &cloud.KeepAlive{Ended: func() { d.manager.ConversationEnded() }}
	d.readHost()
	containers := engine.New(e.socket)
	pipe := d.openLog(containers, docs)
	d.firewall.set = d.filter(pipe.Say)
	d.light = led.New(e.led, e.root, log)
	d.HostConfig = hostos.NewHostConfig(config, e.root, e.boot, d.restartProxy, log)
	d.bootConfig = boot.New(boot.Options{
		Dir: d.Environment.boot, Root: e.root, Slug: d.board.Slug, FromTree: d.board.FromTree, Release: d.release.Meta(), Power: config,
	})
	manager, err := update.New(update.Options{
		Engine: containers, Say: pipe.Say, Attach: pipe.Attach, Docs: docs, Keys: ring, Locks: locks, Facts: d.composeFacts(),
		Auth: d.registryAuth, PollInterval: config.Get().PollInterval, PersistentLogging: config.Get().PersistentLogging,
		StoreSettings: config.StoreSettings, Configured: d.configured(pipe), VPN: d.switchVPN, CanDiscover: true, CanFirewall: hostos.HasFirewall(e.root), Boot: d.bootConfig, LateBoot: d.bootConfig.Late, Container: e.container, Endpoint: config.Get().APIEndpoint,
		UUID: func() string { return config.Get().UUID }, Development: func() bool { return config.Get().DevelopmentMode }, Changed: d.changed, AppUUID: d.appUUID(),
		BackupPath: filepath.Join(e.data, "backup.tgz"), BackupRetry: config.Get().BootstrapRetryDelay,
		PreloadPath: filepath.Join(e.data, "apps.json"), Contracts: d.contractFacts(),
		Booted: hostos.Booted(), BootID: hostos.BootID(), Breadcrumb: filepath.Join(e.root, "tmp/balena-supervisor/reboot-after-apply"), Log: log,
		HangUp: d.keepAlive.Close, Image: d.ownImage(), Registry: d.askRegistry, Free: d.free, Deltas: d.deltas(), Power: d.power(), NoteFirmware: config.NoteFirmwareVolume,
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
	log.Info().Str("version", d.version).Int("port", d.port).Bool("managed", config.Get().Managed()).Msg("supervisor starting")

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d.network = hostos.WatchNetwork(ctx, e.macs, log)
	d.cloud = d.heartbeat(ctx)
	d.cloud.Configure(manager.Settings().ConnectivityCheck)
	d.followHost(ctx)
	if err := config.Watch(ctx, d.becomes(stop), log); err != nil {
		log.Warn().Err(err).Msg("changes of config.json by others are not seen")
	}
	var parts sync.WaitGroup
	parts.Go(func() { d.cloud.Run(ctx); d.light.Close() })
	pipe.Say("Supervisor starting", false)
	if notice != "" {
		pipe.Say(notice, true)
	}
	go d.firewall.begin()
	d.loadTables(pipe)
	parts.Go(func() { pipe.Run(ctx) })
	if err := hostos.WatchUnits(ctx, d.root, pipe.AttachHost); err != nil {
		log.Warn().Err(err).Msg("lines of units of the host are not seen")
	}
	parts.Go(func() { manager.Run(ctx) })
	if d.remote != nil {
		parts.Go(func() { d.reportChanges(ctx) })
		parts.Go(func() { d.remote.Run(ctx) })
	}
	parts.Go(func() {
		d.pipe = pipe
		if err := api.New(apps{manager, d.remote}, keys{ring, d.changed, manager.KeyChanged}, d, log).Serve(ctx, listener); err != nil {
			log.Error().Err(err).Msg("device API ended")
			stop()
		}
	})
	return untilSignal(ctx, stop, &parts)
}

// untilSignal waits for the end, lets the parts finish what cannot be broken off, and ends the
// process as its service manager expects (docs/spec/device-api.md 1.11).
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
