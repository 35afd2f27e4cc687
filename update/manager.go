// Package update keeps the apps of the device as the target state says. It is the facade of the rooms below it: desired
// (what is wanted), observe (what is), reconcile (what to do), execute (how), ledger (what must outlive a restart) and
// view (what readers see).
package update

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/execute"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/process"
	"resin-supervisor/update/reconcile"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
	"resin-supervisor/update/view"
	"resin-supervisor/update/view/build"
)

// Options is what a Manager is built from.
type Options struct {
	Engine *engine.Client
	Docs   desired.Documents
	Keys   desired.Keys
	Locks  *lock.Dir
	Facts  compose.Facts // ServiceKey is set by the Manager
	Images execute.Images
	Host   Host
	Device Device
	// Configured takes the settings in effect, and whether a service of the target uses the host's network: at start and
	// whenever that changes. It must not wait.
	Configured func(s settings.Settings, hostNetwork bool)
	// Changed is called when View may have changed. It must not wait; nil means that nobody asks.
	Changed func()
	// HangUp closes connections that other parts of the agent keep for a next call; nil when there are none.
	HangUp func()
	// Say puts a message of the agent into the log of the device (docs/spec/cloud.md 5.5). It must not wait; nil means
	// that nobody listens.
	Say func(text string, stderr bool)
	// Attach takes the supervised containers whenever they change for the log of the device. It must not wait; nil means
	// that nobody reads their output.
	Attach func([]view.LogSource)
	Log    zerolog.Logger
}

// Host is what the update engine does on the host.
type Host struct {
	// StoreSettings makes config.json say what the settings do.
	StoreSettings func(settings.Settings) error
	// VPN switches the host's VPN on or off unless it is already, and calls begin before it does; nil where nobody can.
	VPN func(ctx context.Context, on bool, begin func()) error
	// NoteFirmware tells the host the name of the volume in which services keep extra firmware.
	NoteFirmware func(volume string) error
	// AppUUID asks the cloud for the uuid of an app, for a preload in the older shape; nil when there is no cloud.
	AppUUID func(ctx context.Context, id int) (string, error)
	// CanFirewall and CanDiscover say that somebody who takes the settings acts on the mode of the firewall, and on
	// discoverability. Otherwise the variables have no effect, and the agent claims none.
	CanFirewall, CanDiscover bool
	// Boot is the boot configuration of the board, nil where there is none. LateBoot says that it has places that
	// earlier agents did not act upon: they stay until a target is stored.
	Boot     reconcile.Boot
	LateBoot bool
	Reboot   ledger.Reboot   // how a release asks for a reboot
	Power    reconcile.Power // the way to the host for a reboot
	// TargetConfig is the file in which the host looks for the configuration.
	TargetConfig string
}

// Device is what the update engine knows of the device from the start.
type Device struct {
	UUID        func() string
	Development func() bool // developmentMode of config.json: people build images on the engine; nil means no
	Endpoint    string      // cloud API origin; empty means no cloud, which implies local mode
	PreloadPath string      // apps.json
	// BackupPath is backup.tgz, which a migration leaves, and BackupRetry how long to wait after it could not be
	// restored.
	BackupPath  string
	BackupRetry time.Duration
	// PollInterval and PersistentLogging are what config.json says of them.
	PollInterval      time.Duration
	PersistentLogging bool
	Contracts         target.ContractFacts // what the device offers to the contracts of services
	Image             target.Reference     // of the agent itself, zero when it is not known
	Container         string               // id or name of the agent's own container, empty when it runs in none
}

// Manager is the update engine. Its methods are safe for concurrent use.
type Manager struct {
	// Poll asks the cloud for its target. It is set before Run on a device with a cloud, else nil.
	Poll func(force, cancel bool) (accepted bool)

	loop    *reconcile.Loop
	engine  *engine.Client
	watcher *observe.Watcher
	store   *observe.Store
	targets *desired.Targets
	users   *userlog.Log
	locks   *lock.Claims
	trimmer *process.Trimmer

	preloaded chan struct{} // closed once the preload file was read or is not needed

	revision atomic.Uint64
	status   atomic.Pointer[build.Status]
	cached   atomic.Pointer[cachedView]
}

// cachedView is a view with what it was built from.
type cachedView struct {
	status  *build.Status
	current *current.State
	state   *view.State
}

// New reads the durable state. It starts nothing and does not touch the engine.
func New(o Options) (*Manager, error) {
	voice := userlog.NewVoice(o.Say)
	book, err := ledger.Open(o.Docs, o.Host.Reboot, o.Changed)
	if err != nil {
		return nil, err
	}
	targets, err := openTargets(&o, voice)
	if err != nil {
		return nil, err
	}
	leftover, err := o.Locks.Leftovers()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		engine: o.Engine, store: book.Store(), targets: targets, users: userlog.New(voice), locks: lock.NewClaims(o.Locks),
		trimmer: process.NewTrimmer(o.HangUp), preloaded: make(chan struct{}),
	}
	m.watcher = observe.NewWatcher(o.Engine, m.store, voice, o.Log)
	images, host := o.Images, execute.Host{
		VPN: o.Host.VPN, StoreSettings: o.Host.StoreSettings, NoteFirmware: o.Host.NoteFirmware, AppUUID: o.Host.AppUUID,
		Reboot: func(ctx context.Context, force bool) error { return m.loop.RebootToApply(ctx, force) },
		Backup: o.Device.BackupPath, Container: o.Device.Container,
	}
	images.DeltaTimeout = func() time.Duration { return m.loop.Settings().DeltaRequestTimeout }
	executor, err := execute.New(execute.Options{
		Engine: o.Engine, Watcher: m.watcher, Ledger: book, Locks: m.locks, Targets: targets, Users: m.users,
		Images: images, Host: host, Log: o.Log, Docs: o.Docs,
	})
	if err != nil {
		return nil, err
	}
	sources := &observe.LogSources{Attach: o.Attach}
	m.loop = reconcile.New(reconcile.Options{
		Run:     executor.Run,
		Inspect: func(ctx context.Context, image string) error { return m.watcher.Inspect(ctx, observe.Image(image)) },
		Show: func(s *build.Status) {
			m.status.Store(s)
			m.trimmer.Worked()
			sources.Show(m.store.Load())
			if o.Changed != nil {
				o.Changed()
			}
		},
		Store: m.store, Targets: targets, Ledger: book, Locks: m.locks, Users: m.users, Log: o.Log,
		Resolver: desired.NewResolver(targets.Active(), o.Facts, o.Keys, book, voice, o.Log),
		Device:   m.device(&o, executor),
	}, leftover)
	return m, nil
}

// device is what the loop knows of the device.
func (m *Manager) device(o *Options, x *execute.Executor) reconcile.Device {
	once := sync.OnceFunc(func() { close(m.preloaded) })
	if _, err := os.Stat(o.Device.PreloadPath); err != nil {
		once()
	}
	backup, err := os.Stat(o.Device.BackupPath)
	return reconcile.Device{
		Managed: o.Device.Endpoint != "", Image: o.Device.Image, Development: o.Device.Development,
		Backup: err == nil && backup.Mode().IsRegular(), BackupRetry: o.Device.BackupRetry,
		Found: o.found(), Configured: o.Configured,
		CanSwitchVPN: o.Host.VPN != nil, CanFirewall: o.Host.CanFirewall, CanDiscover: o.Host.CanDiscover, HasDeltas: o.Images.Deltas != nil,
		InLocalMode: x.InLocalMode, Preloaded: once, Boot: o.Host.Boot, Power: o.Host.Power,
	}
}

func openTargets(o *Options, say userlog.Voice) (*desired.Targets, error) {
	t := desired.Options{
		Docs: o.Docs, Log: o.Log, Say: say, Endpoint: o.Device.Endpoint, UUID: o.Device.UUID, Contracts: o.Device.Contracts,
		Found: o.found(), LateBoot: o.Host.LateBoot, PreloadPath: o.Device.PreloadPath, HostPath: o.Host.TargetConfig,
	}
	if o.Host.Boot != nil {
		t.Boot = o.Host.Boot.Current
	}
	return desired.Open(t)
}

// found are the settings as they are before anybody configured the device.
func (o *Options) found() settings.Settings {
	s, _ := settings.Parse(nil)
	s.PollInterval, s.PersistentLogging = o.Device.PollInterval, o.Device.PersistentLogging
	return s
}

// Run follows the engine and applies the target until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { m.watcher.Run(ctx) })
	m.loop.Run(ctx)
	watching.Wait()
}

// UserLock names the first service of an app that holds an update lock, empty when none does.
func (m *Manager) UserLock(appID int) string {
	service, _ := m.locks.Dir.UserLock(appID)
	return service
}

// ConversationEnded says that a call of another part of the agent is over: once it was quiet for a few seconds, HangUp
// is called and memory given back.
func (m *Manager) ConversationEnded() { m.trimmer.ConversationEnded() }

// View is the newest view of the apps. It never blocks and makes no engine call.
func (m *Manager) View() *view.State {
	m.trimmer.Worked()
	s, cur, down := m.status.Load(), m.store.Load(), m.watcher.EngineError()
	if c := m.cached.Load(); c != nil && c.status == s && c.current == cur && c.state.EngineError == down {
		return c.state
	}
	c := &cachedView{status: s, current: cur, state: build.View(s, cur)}
	c.state.EngineError = down
	c.state.Revision = m.revision.Add(1)
	m.cached.Store(c)
	return c.state
}

// Listed is closed once the engine was listed: until then the view has no apps.
func (m *Manager) Listed() <-chan struct{} { return m.store.Listed() }

// Counts is what the agent did since it started.
func (m *Manager) Counts() view.Counts {
	c := m.loop.Counts()
	c.EngineCalls, c.EngineErrors = m.engine.Calls()
	return c
}

// AwaitPreload waits until a preload file, if there is one, was read: what it says comes before what the cloud says. The
// engine has to be there for that, so ctx should end some time.
func (m *Manager) AwaitPreload(ctx context.Context) {
	select {
	case <-m.preloaded:
	case <-ctx.Done():
	}
}
