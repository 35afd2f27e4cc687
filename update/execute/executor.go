// Package execute carries out single steps of a plan on the engine and on the host. It holds no policy: the plan says
// what to do, and whether. Every step leaves the current state true to the engine before it returns, also when it
// fails, so that the next plan starts from what is.
package execute

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/current"
	"resin-supervisor/update/delta"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/registry"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/userlog"
)

// Options are what an Executor works with.
type Options struct {
	Engine  *engine.Client
	Watcher *observe.Watcher
	Ledger  *ledger.Ledger
	Locks   *lock.Claims
	Targets *desired.Targets
	Users   *userlog.Log
	Images  Images
	Host    Host
	Log     zerolog.Logger
	Docs    desired.Documents
}

// Images is how images get to the device.
type Images struct {
	// Auth gives the credentials for a registry host, nil for none (docs/spec/engine.md 1.4).
	Auth func(registry string) *doc.AuthConfig
	// Registry reads from registries what is to be downloaded. Free tells how many bytes there is room for where the
	// engine keeps its images, given its directory as it names it.
	Registry registry.Get
	Free     func(engineRoot string) (int64, error)
	// Deltas is nil when there is no server for them. A request waits for DeltaTimeout at most.
	Deltas       delta.Source
	DeltaTimeout func() time.Duration
}

// Host is what steps do beside the engine.
type Host struct {
	// VPN switches the VPN on or off unless it is already, and calls begin before it does; nil where nobody can.
	VPN func(ctx context.Context, on bool, begin func()) error
	// StoreSettings makes config.json say what the settings do.
	StoreSettings func(settings.Settings) error
	// NoteFirmware tells the host the name of the volume in which services keep extra firmware.
	NoteFirmware func(volume string) error
	// AppUUID asks the cloud for the uuid of an app; nil when there is no cloud to ask.
	AppUUID func(ctx context.Context, id int) (string, error)
	// Reboot reboots the device and returns what the host answered.
	Reboot func(ctx context.Context, force bool) error
	// Backup is the path of the file that a migration leaves with the content of volumes.
	Backup string
	// Container is the agent's own container, empty when it runs in none.
	Container string
}

// Executor carries out steps. Run is safe for concurrent use with steps of different keys.
type Executor struct {
	engine  *engine.Client
	watch   *observe.Watcher
	store   *observe.Store
	ledger  *ledger.Ledger
	locks   *lock.Claims
	targets *desired.Targets
	users   *userlog.Log
	images  Images
	host    Host
	local   *localMode
	log     zerolog.Logger
}

// New is an executor. It reads the note of local mode and touches nothing else.
func New(o Options) (*Executor, error) {
	x := &Executor{
		engine: o.Engine, watch: o.Watcher, store: o.Ledger.Store(), ledger: o.Ledger, locks: o.Locks, targets: o.Targets,
		users: o.Users, images: o.Images, host: o.Host, log: o.Log,
	}
	var err error
	x.local, err = openLocalMode(o)
	return x, err
}

// InLocalMode tells whether there is a note of what the engine had before local mode.
func (x *Executor) InLocalMode() bool { return !x.local.recorded.Load().Taken.IsZero() }

// Run carries out one step. With force it overrides update locks.
func (x *Executor) Run(ctx context.Context, s plan.Step, force bool) error {
	switch s.Kind {
	case plan.Kill, plan.Remove, plan.Stop, plan.Rename, plan.Start, plan.HandOver, plan.Restart:
		return x.runContainer(ctx, s)
	case plan.Look, plan.Fetch, plan.Save, plan.RemoveImage, plan.CleanUp:
		return x.runImage(ctx, s)
	case plan.PrepareVolume, plan.CreateVolume, plan.RemoveVolume, plan.Restore:
		return x.runVolume(ctx, s)
	case plan.CreateNetwork:
		return x.createNetwork(ctx, s.Network)
	case plan.RemoveNetwork:
		return x.removeNetwork(ctx, s.Object, s.IDs)
	case plan.TakeLock:
		x.users.Voice.Event(userlog.TakingLocks, "", nil)
		return x.locks.Take(ctx, s.AppID, s.Services, force)
	case plan.ReleaseLock:
		x.users.Voice.Event(userlog.ReleasingLocks, "", nil)
		return x.locks.Release(s.AppID)
	case plan.SweepLock:
		return x.locks.Sweep(s.AppID)
	case plan.SetCommit:
		return x.ledger.SetCommit(s.AppUUID, s.Commit, s.Source)
	case plan.RollBack:
		return x.ledger.FailRelease(s.AppUUID, s.Source, s.Reason)
	case plan.Reboot:
		return x.host.Reboot(ctx, force)
	}
	return x.runDevice(ctx, s)
}

func (x *Executor) runContainer(ctx context.Context, s plan.Step) error {
	switch s.Kind {
	case plan.Kill:
		return x.kill(ctx, s.Container, s.Keep)
	case plan.Remove:
		return x.removeDead(ctx, s.Container, s.Keep)
	case plan.Stop:
		return x.stop(ctx, s.Container, s.User)
	case plan.Rename:
		return x.rename(ctx, s)
	case plan.Start:
		return x.start(ctx, s)
	case plan.HandOver:
		return x.handOver(ctx, s)
	}
	return x.restart(ctx, s)
}

func (x *Executor) runImage(ctx context.Context, s plan.Step) error {
	switch s.Kind {
	case plan.Look:
		return x.preflight(ctx, s)
	case plan.Fetch:
		return x.fetch(ctx, s)
	case plan.Save:
		return x.save(ctx, s)
	case plan.RemoveImage:
		return x.removeImage(ctx, s)
	}
	return x.cleanUp(ctx, s)
}

func (x *Executor) runVolume(ctx context.Context, s plan.Step) error {
	switch s.Kind {
	case plan.PrepareVolume:
		return x.prepareVolume(ctx, s.Object)
	case plan.CreateVolume:
		return x.createVolume(ctx, s.Volume)
	case plan.RemoveVolume:
		return x.dropVolume(ctx, s.Object)
	}
	return x.restore(ctx, s)
}

// runDevice carries out a step on the device as a whole.
func (x *Executor) runDevice(ctx context.Context, s plan.Step) error {
	switch s.Kind {
	case plan.RequireReboot:
		return x.requestReboot(s)
	case plan.SwitchVPN:
		return x.switchVPN(ctx, s)
	case plan.Preload:
		return x.preload(ctx)
	case plan.Set:
		return x.storeSettings(s)
	case plan.SetBoot:
		return x.writeBoot(s)
	case plan.EnterLocal:
		return x.local.enter(ctx)
	case plan.LeaveLocal:
		return x.local.leave(ctx)
	}
	return fmt.Errorf("unknown step %q", s.Kind)
}

// showWork shows work on a container in the current state until the returned function is called.
func (x *Executor) showWork(subject, status string, r current.Record) (done func()) {
	x.store.UpdateQuietly(func(s *current.State) *current.State {
		return s.WithDoing(subject, current.Doing{Status: status, AppID: r.AppID, For: r})
	})
	return func() {
		x.store.Update(func(s *current.State) *current.State { return s.WithoutDoing(subject) })
	}
}

func recordOf(c *current.Container) current.Record {
	return current.Record{
		AppID: c.AppID, AppUUID: c.AppUUID, ServiceID: c.ServiceID, ServiceName: c.ServiceName,
		ImageID: c.ImageID, ReleaseID: c.ReleaseID, Commit: c.Commit,
	}
}
