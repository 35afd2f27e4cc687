// Package update keeps the device's apps as the target state says: it follows the engine, decides
// when to apply something, runs the steps that package plan lists, and gives its readers pictures of
// what is. It is the only place that changes anything on the engine.
package update

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/registry"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// Options is what a Manager is built from.
type Options struct {
	Engine *engine.Client
	Docs   Documents
	Keys   Keys
	Locks  *lock.Dir
	Facts  compose.Facts // ServiceKey is set by the Manager
	// Auth gives the credentials for a registry host, nil for none (docs/spec/engine.md 1.4).
	Auth func(registry string) *doc.AuthConfig
	// Registry reads from registries what is to be downloaded, and Free tells how many bytes there is room
	// for where the engine keeps its images, given its directory as it names it.
	Registry registry.Get
	Free     func(engineRoot string) (int64, error)
	// PollInterval and PersistentLogging are what config.json says of them, and StoreSettings makes it
	// say what the settings do.
	PollInterval      time.Duration
	PersistentLogging bool
	StoreSettings     func(settings.Settings) error
	// Configured is told of the settings in effect, and whether a service of the target uses the host's
	// network: at start and whenever that changes. It must not wait.
	Configured func(s settings.Settings, hostNetwork bool)
	// Changed is told that View may have changed. It must not wait; nil means that nobody asks.
	Changed func()
	// HangUp closes connections that other parts of the agent keep for a next call; nil when there are none.
	HangUp      func()
	UUID        func() string // of the device
	Development func() bool   // developmentMode of config.json: people build images on the engine; nil means no
	Endpoint    string        // cloud API origin; empty means unmanaged, which implies local mode
	PreloadPath string        // apps.json
	// BackupPath is backup.tgz, which a migration leaves, and BackupRetry how long to wait after it
	// could not be restored.
	BackupPath  string
	BackupRetry time.Duration
	// VPN switches the host's VPN on or off unless it is already, calling begin before it does; nil
	// where nobody can.
	VPN func(ctx context.Context, on bool, begin func()) error
	// CanFirewall and CanDiscover say that somebody who is told of the settings acts on the mode of
	// the firewall, and on discoverability. Otherwise the variables have no effect, and none is claimed.
	CanFirewall, CanDiscover bool
	// Boot is the boot configuration of the board, nil where there is none.
	Boot Boot
	// LateBoot says that it has places that were not acted upon before: they stay until a target is stored.
	LateBoot bool
	// AppUUID asks the cloud for the uuid of an app, for a preload in the older shape; nil when
	// there is no cloud to ask.
	AppUUID   func(ctx context.Context, id int) (string, error)
	Contracts target.ContractFacts // what the device offers to the contracts of services
	Image     target.Reference     // of the agent itself, zero when it is not known
	Container string               // id or name of the agent's own container, empty when it runs in none
	Deltas    Deltas               // nil when there is no server for them
	// NoteFirmware tells the host the name of the volume in which services keep extra firmware.
	NoteFirmware func(volume string) error
	Booted       time.Time // when the device booted
	BootID       string    // the kernel's name for this boot
	Breadcrumb   string    // file by which a release asks for a reboot
	Power        Power     // the way to the host for a reboot
	// Say puts a message of the agent into the device's log (docs/spec/cloud.md 5.5). It must not wait; nil
	// means that nobody listens.
	Say func(text string, stderr bool)
	// Attach is told which supervised containers there are, whenever that changes for the device's log.
	// It must not wait; nil means that nobody reads their output.
	Attach func([]view.LogSource)
	Log    zerolog.Logger
}

// Manager is the update engine. Its methods are safe for concurrent use.
type Manager struct {
	engine  *engine.Client
	watch   *watch
	cell    *cell
	loop    *loop
	exec    *executor
	targets *targets
	power   Power
	log     zerolog.Logger

	life   context.Context // ends when Run does; calls from outside that outlive their caller use it
	ending context.CancelFunc

	preloaded chan struct{} // closed once a preload file was looked at

	rest     *rest
	revision atomic.Uint64
	status   atomic.Pointer[status]
	settings atomic.Pointer[settings.Settings]
	cached   atomic.Pointer[picture]
}

// New reads the durable state. It starts nothing and does not touch the engine.
func New(o Options) (*Manager, error) {
	b, err := openBook(o.Docs, o.BootID)
	if err != nil {
		return nil, err
	}
	t, err := openTargets(o)
	if err != nil {
		return nil, err
	}
	if o.Changed != nil {
		b.cell.told = o.Changed
	}
	say, sources := voiceOf(o.Say), &attacher{attach: o.Attach}
	m := &Manager{engine: o.Engine, power: o.Power, cell: b.cell, targets: t, log: o.Log}
	m.rest = newRest(o.HangUp)
	m.watch = newWatch(o.Engine, b.cell, say, o.Log)
	m.exec = &executor{
		engine: o.Engine, watch: m.watch, cell: b.cell, locks: newLocks(o.Locks), book: b, auth: o.Auth, log: o.Log,
		reboot: reboot{id: o.BootID, booted: o.Booted, breadcrumb: o.Breadcrumb}, storeSettings: o.StoreSettings,
		targets: t, vpn: o.VPN, preloadPath: o.PreloadPath, backup: o.BackupPath, appUUID: o.AppUUID,
		deltas: o.Deltas, settings: m.Settings, noteFirmware: o.NoteFirmware, say: say, registry: o.Registry, free: o.Free,
	}
	if m.exec.local, err = openLocalMode(o, m.watch, t); err != nil {
		return nil, err
	}
	m.loop = &loop{
		exec: m.exec, targets: t, watch: m.watch, cell: b.cell, log: o.Log,
		resolve: &resolver{log: o.Log, say: say, book: b, facts: o.Facts, keys: o.Keys, told: make(map[string]string), since: make(map[string]time.Time), stale: true},
		calls:   make(chan func()), results: make(chan result),
		running: make(map[string]*task), held: make(map[string]int), leftover: make(map[int]bool),
		freed: make(map[int]context.CancelFunc), actions: make(map[string]*action),
		backoff: newBackoff(o.PollInterval), trials: make(trials), noted: make(map[string]*target.App), kept: make(map[string]time.Time),
		looked:      make(map[string]time.Time),
		development: o.Development, image: o.Image, managed: o.Endpoint != "", backup: isFile(o.BackupPath), backupRetry: o.BackupRetry,
		status: status{touched: make(map[string]string)},
		show: func(s status) {
			m.status.Store(&s)
			m.rest.worked()
			sources.show(b.cell.load())
			b.cell.told()
		},
	}
	m.watchPreload(o.PreloadPath)
	m.exec.goDown = m.rebootToApply
	m.life, m.ending = context.WithCancel(context.Background())
	m.loop.resolve.target = t.active()
	m.loop.config = configuration{changed: m.configured(o.Configured), firewall: o.CanFirewall, discoverability: o.CanDiscover, boot: boot{board: o.Boot}}
	m.loop.configureFirst(t, o)
	m.loop.reboot = m.exec.reboot.required()
	m.loop.publish()
	return m, m.leftovers(o.Locks)
}

// leftovers notes the lock files that an earlier run of the agent left.
func (m *Manager) leftovers(dir *lock.Dir) error {
	ids, err := dir.Leftovers()
	for _, id := range ids {
		m.loop.leftover[id] = true
	}
	return err
}

// Run follows the engine and applies the target until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.watch.run(ctx)
	}()
	m.loop.run(ctx)
	m.ending()
	<-done
}

// SetFacts replaces what the device contributes to its containers; what differs is made anew.
func (m *Manager) SetFacts(f compose.Facts) error {
	return m.loop.call(m.life, func() { m.loop.setFacts(f) })
}

// KeyChanged says that a service has another API key than before. The next pass, which follows at once,
// gives it to the container as the update locks allow, and actions that begin later use it
// (docs/spec/device-api.md 2.10). A service that renews its key at each start is slowed down like every
// step that comes up again. An agent that is about to end does all this at its next start.
func (m *Manager) KeyChanged() {
	_ = m.loop.call(m.life, func() { m.loop.resolve.stale = true })
}

// Healthy tells whether applying gets on: no attempt to apply is under way, or it downloads, or it took
// less than twice the poll interval beside its downloads (docs/spec/cloud.md 9.2).
func (m *Manager) Healthy(now time.Time) bool {
	s := m.status.Load()
	return !s.applying || s.attempt.IsZero() || !s.fetching.IsZero() || now.Sub(s.attempt)-s.fetched < 2*m.Settings().PollInterval
}

// UserLock names the first service of an app that holds an update lock, empty when none does.
func (m *Manager) UserLock(appID int) string {
	service, _ := m.exec.locks.dir.UserLock(appID)
	return service
}

// ConversationEnded says that a call of another part of the agent is over: once it was quiet for a few seconds,
// HangUp is called and memory given back.
func (m *Manager) ConversationEnded() { m.rest.ended() }

// View is the newest picture of the apps. It never blocks and makes no engine call.
func (m *Manager) View() *view.State {
	m.rest.worked()
	s, cur, down := m.status.Load(), m.cell.load(), m.watch.engineError()
	if p := m.cached.Load(); p != nil && p.status == s && p.current == cur && p.state.EngineError == down {
		return p.state
	}
	p := &picture{status: s, current: cur, state: draw(s, cur)}
	p.state.EngineError = down
	p.state.Revision = m.revision.Add(1)
	m.cached.Store(p)
	return p.state
}

// Listed is closed once the engine was listed: until then the view has no apps.
func (m *Manager) Listed() <-chan struct{} { return m.cell.listed }

// picture is a drawn view with what it was drawn from.
type picture struct {
	status  *status
	current *current.State
	state   *view.State
}
