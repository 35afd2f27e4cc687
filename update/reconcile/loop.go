// Package reconcile decides when to apply the target: it plans when something changed, runs the steps of the plan, and
// plans again after each result. It is the only place that starts a step. What the API wants done to containers and
// volumes is a request to it.
package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/current"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/reconcile/backoff"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
	"resin-supervisor/update/view/build"
)

// Options are what a Loop works with.
type Options struct {
	// Run carries out one step; with force it overrides update locks.
	Run func(ctx context.Context, s plan.Step, force bool) error
	// Inspect inspects an image, by engine id.
	Inspect func(ctx context.Context, image string) error
	// Show takes what the loop says. It must not wait.
	Show func(*build.Status)

	Store    *observe.Store
	Resolver *desired.Resolver
	Targets  *desired.Targets
	Ledger   *ledger.Ledger
	Locks    *lock.Claims
	Users    *userlog.Log
	Log      zerolog.Logger

	Device Device
}

// Device is what the loop knows of the device from the start.
type Device struct {
	Managed bool             // it has a cloud
	Image   target.Reference // of the agent, zero when it is not known
	// Development tells whether people build images on the engine; nil means no.
	Development func() bool
	// Backup says that volumes are to be filled from the backup of a migration. BackupRetry is how long to wait after
	// a failure.
	Backup      bool
	BackupRetry time.Duration
	// Found are the settings before anybody configured the device.
	Found settings.Settings
	// Configured takes the settings in effect, and whether a service of the target uses the host's network: at start
	// and after each change. It must not wait; it may be nil.
	Configured func(s settings.Settings, hostNetwork bool)
	// CanSwitchVPN, CanFirewall and CanDiscover say that somebody acts on these settings, and HasDeltas that there is a
	// server for deltas.
	CanSwitchVPN, CanFirewall, CanDiscover, HasDeltas bool
	// InLocalMode tells whether there is a note of what the engine had before local mode.
	InLocalMode func() bool
	// Preloaded is called once the preload file was read or is not needed.
	Preloaded func()
	Boot      Boot // boot configuration of the board, nil where there is none
	Power     Power
}

// Loop decides and applies. Its methods are safe for concurrent use, except those that say that they belong to the
// goroutine of Run; so do all fields but life, counts, settings and health.
type Loop struct {
	o      Options
	life   context.Context // ends when Run does; calls that outlive their caller use it
	ending context.CancelFunc

	calls   chan func()
	results chan result
	running map[string]*task // steps under way, by key

	asked      asked
	config     configuration
	backoff    *backoff.Backoff
	found      found
	memory     memory
	gates      gates
	inspection inspection
	waits      []plan.Step // of kind Wait: what services, and apps, wait for
	status     build.Status
	progress   progress

	counts   counts
	settings atomic.Pointer[settings.Settings]
	health   atomic.Pointer[progress]
}

// asked is what clients of the API, the cloud and the host asked for.
type asked struct {
	actions  map[string]*action // intermediate targets, by app uuid
	requests []*request         // not answered yet, in their order
	force    bool               // override update locks until the target is reached
	powerOff *powerOff          // nil unless the device is about to go down: no step of a plan begins then
}

// found is what the results of steps said.
type found struct {
	locked          map[string]int             // apps whose lock the loop holds: uuid to id
	leftover        map[int]bool               // apps (id) with lock files of an earlier run
	lockWaits       map[int]context.CancelFunc // waits for the lock of a user, by app id
	undeletable     map[string]time.Time       // images (reference, tag or id) that the engine refused to remove, and when
	checked         map[string]time.Time       // images (reference) that passed a preflight, and when
	noSpace         bool                       // the engine's storage was full, and there is still something to remove
	rebootRequested bool                       // since the last boot
	firmwareReady   bool                       // the volume of extra firmware was prepared
}

// memory is what one pass leaves to the next ones.
type memory struct {
	adopted     bool                   // the API keys of running containers were adopted
	preloaded   bool                   // the preload file was read
	backup      bool                   // volumes are still to be filled from a backup
	backupSaid  string                 // what users were told last of the backup
	notStarted  map[string]bool        // containers (id) that were not started yet when the device booted
	recorded    map[string]*target.App // apps (uuid) whose settled form the ledger has
	loggedWaits map[string]string      // service key -> what was logged of its wait last
}

// progress tells how long an apply takes.
type progress struct {
	applying bool
	since    time.Time     // when the apply began
	attempt  time.Time     // since when steps are under way without a pause, zero in a pause
	fetching time.Time     // since when a download runs, zero when none does
	fetched  time.Duration // time of this attempt that downloads took
}

// task is a step under way.
type task struct {
	step    plan.Step
	cancel  context.CancelFunc
	request *request // nil for a step of the plan
}

const (
	maxPulls = 3 // downloads at once (docs/spec/engine.md 5.3)
	// undeletableFor is how long an image that the engine refused to remove is left alone, unless a new target comes
	// before.
	undeletableFor = time.Hour
	// checkedFor is how long a passed preflight of an image counts.
	checkedFor = 10 * time.Minute
	// inspectTimeout bounds the inspection of images, inspectRetry is the pause after a failed one.
	inspectTimeout = time.Minute
	inspectRetry   = time.Second
)

// New is a loop with the settings that are in effect at the start. It starts nothing. leftover are the apps (id) with
// lock files of an earlier run.
func New(o Options, leftover []int) *Loop {
	l := &Loop{
		o: o, calls: make(chan func()), results: make(chan result), running: make(map[string]*task),
		asked: asked{actions: make(map[string]*action)},
		found: found{
			locked: make(map[string]int), leftover: make(map[int]bool), lockWaits: make(map[int]context.CancelFunc),
			undeletable: make(map[string]time.Time), checked: make(map[string]time.Time), rebootRequested: o.Ledger.Reboot.Requested(),
		},
		memory:  memory{backup: o.Device.Backup, recorded: make(map[string]*target.App)},
		backoff: backoff.New(o.Device.Found.PollInterval), gates: make(gates),
		status: build.Status{Reasons: make(map[string]string)},
	}
	for _, id := range leftover {
		l.found.leftover[id] = true
	}
	l.life, l.ending = context.WithCancel(context.Background())
	l.configureFirst()
	l.publish()
	return l
}

// Run decides and applies until ctx ends. Steps under way are cancelled then.
func (l *Loop) Run(ctx context.Context) {
	defer l.ending()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	l.o.Targets.TellHost() // the device may have booted since
	for {
		timer.Stop()
		if next := sooner(l.pass(ctx), l.serve(ctx)); !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
		if len(l.running) == 0 {
			l.progress.attempt = time.Time{}
			l.logWaits()
		}
		l.publish()
		select {
		case <-ctx.Done():
			l.drain()
			return
		case <-l.o.Store.Changed():
		case <-timer.C:
		case call := <-l.calls:
			call()
		case r := <-l.results:
			l.finish(r)
		}
	}
}

// drain waits for the steps under way, which ctx has cancelled.
func (l *Loop) drain() {
	l.stopLockWaits()
	for len(l.running) > 0 {
		l.ended(<-l.results)
	}
	for len(l.asked.requests) > 0 {
		l.answer(l.asked.requests[0], context.Canceled)
	}
}

// call runs f in the goroutine of Run and waits for it.
func (l *Loop) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pass plans once and begins every step that may run. It returns when the next waiting step is due, the zero time when
// none waits for its time.
func (l *Loop) pass(ctx context.Context) time.Time {
	cur, r := l.o.Store.Load(), l.o.Resolver
	l.status.NextAttempt = time.Time{}
	if l.asked.powerOff != nil {
		return time.Time{}
	}
	l.preload(ctx, cur)
	next, settled := l.configure(ctx, cur)
	if !settled {
		l.status.NextAttempt = next
		return next
	}
	next = sooner(next, l.switchVPN(ctx))
	if !cur.Synced || r.Target() == nil {
		l.status.Applying = l.status.Applying && r.Target() != nil
		return next
	}
	l.adoptOnce(cur)
	if images := r.NotInspected(cur); len(images) > 0 {
		return sooner(next, l.inspect(ctx, images))
	}
	apps, rolledBack := r.Apps(cur)
	l.status.Apps, l.status.RolledBack = apps, rolledBack
	o := l.options()
	o.Trial, o.Restore = l.gates.of(l, apps), l.restoring(apps)
	steps := plan.Next(l.o.Store.Load(), l.effective(apps), o)
	next = sooner(next, sooner(l.begin(ctx, steps), l.gates.begin(l, o.Trial, steps)))
	l.found.noSpace = l.found.noSpace && (len(l.o.Store.Load().Pulls) > 0 || slices.ContainsFunc(steps, removesImage))
	l.settle(steps)
	l.status.NextAttempt = next
	return next
}

// adoptOnce takes over what an earlier supervisor, or an earlier boot, left. It does so once the engine was listed.
func (l *Loop) adoptOnce(cur *current.State) {
	if l.memory.adopted {
		return
	}
	l.o.Resolver.AdoptKeys(cur)
	var err error
	if l.memory.notStarted, err = l.o.Ledger.NotStartedAtBoot(cur); err != nil {
		l.o.Log.Error().Err(err).Msg("cannot identify containers created before this boot")
	}
	l.memory.adopted = true
}

// inspection is that of images which the target needs before it can be resolved. It is no step, since it changes
// nothing.
type inspection struct {
	underWay bool
	again    time.Time // after a failure: not before this time
}

// inspect inspects images beside the loop, which serves others while the engine does not answer. It returns when to try
// again, the zero time when the result will come before.
func (l *Loop) inspect(ctx context.Context, images []string) time.Time {
	if l.inspection.underWay || l.inspection.again.After(time.Now()) {
		return l.inspection.again
	}
	l.inspection = inspection{underWay: true}
	go func() {
		bounded, cancel := context.WithTimeout(ctx, inspectTimeout)
		defer cancel()
		var err error
		for _, id := range images {
			if failed := l.o.Inspect(bounded, id); err == nil {
				err = failed
			}
		}
		_ = l.call(ctx, func() {
			l.inspection.underWay = false
			if err != nil {
				l.o.Log.Warn().Err(err).Msg("cannot inspect images of the target, will retry")
				l.inspection.again = time.Now().Add(inspectRetry)
			}
		})
	}()
	return time.Time{}
}

// effective is the target with the intermediate targets of running actions in place.
func (l *Loop) effective(apps plan.Target) plan.Target {
	if len(l.asked.actions) == 0 {
		return apps
	}
	t := maps.Clone(apps)
	for uuid, a := range l.asked.actions {
		if app := a.wants(); app != nil {
			t[uuid] = app
		} else {
			delete(t, uuid)
		}
	}
	return t
}

func (l *Loop) options() plan.Options {
	o := plan.Options{
		Now:            time.Now(),
		Held:           l.found.locked,
		Leftover:       l.found.leftover,
		Kept:           make(map[string]bool),
		Looked:         make(map[string]bool),
		MaxPulls:       maxPulls,
		CleanUp:        !l.config.have.LocalMode,
		Supervisor:     l.o.Device.Image,
		Deltas:         l.deltas(),
		NoSpace:        l.found.noSpace,
		FirmwareReady:  l.found.firmwareReady,
		KeepImages:     l.keepsImages(),
		KeepVolumes:    l.config.have.LocalMode,
		Earlier:        l.memory.notStarted,
		RebootRequired: l.found.rebootRequested && !l.config.unstored,
		Busy:           make(map[string]bool),
		Intermediate:   make(map[string]string),
		Purge:          make(map[string]bool),
	}
	for _, t := range l.running {
		o.Busy[t.step.AppUUID] = true
		for _, r := range t.step.Records {
			o.Busy[r.AppUUID] = true
		}
	}
	for image, at := range l.found.undeletable {
		if o.Now.Sub(at) < undeletableFor {
			o.Kept[image] = true
		} else {
			delete(l.found.undeletable, image)
		}
	}
	for image, at := range l.found.checked {
		if o.Now.Sub(at) < checkedFor {
			o.Looked[image] = true
		}
	}
	for uuid, a := range l.asked.actions {
		o.Intermediate[uuid] = a.reason
		o.Purge[uuid] = a.purge
	}
	return o
}

// keepsImages tells whether images stay that nothing uses any more: the next build begins with the layers of the last
// one. A device without a cloud is always in local mode. There images stay only where people develop
// (docs/spec/engine.md 8.6).
func (l *Loop) keepsImages() bool {
	d := &l.o.Device
	return l.config.have.LocalMode && (d.Managed || d.Development != nil && d.Development())
}

// begin starts the steps whose subject is free and whose time has come.
func (l *Loop) begin(ctx context.Context, steps []plan.Step) (next time.Time) {
	now := time.Now()
	l.waits = nil
	for _, s := range steps {
		if s.Kind == plan.Wait {
			next = sooner(next, s.Until)
			l.fault(s)
			l.waits = append(l.waits, s)
			continue
		}
		if l.running[s.Key] != nil || l.reserved(s) || s.Kind == plan.ReleaseLock && l.works(s.AppID) {
			continue
		}
		if until := l.backoff.Until(s); until.After(now) {
			next = sooner(next, until)
			continue
		}
		l.launch(ctx, s)
	}
	return next
}

// sooner is the earlier of two times, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (l *Loop) launch(ctx context.Context, s plan.Step) {
	ctx, cancel := context.WithCancel(ctx)
	l.beginAttempt()
	l.running[s.Key] = &task{step: s, cancel: cancel}
	if service := s.ServiceName(); service != "" {
		l.status.Reasons = maps.Clone(l.status.Reasons)
		l.status.Reasons[current.Slot(s.AppUUID, service)] = string(s.Kind) + ": " + s.Reason
	}
	if s.Transfers() && l.progress.fetching.IsZero() {
		l.progress.fetching = time.Now()
	}
	l.logStep(l.o.Log.Info(), s).Msg("step begins")
	force := l.asked.force || l.config.have.OverrideLock
	if a := l.asked.actions[s.AppUUID]; a != nil {
		force = force || a.force
	}
	go func() {
		defer cancel()
		l.results <- result{step: s, err: l.o.Run(ctx, s, force)}
	}()
}

// publish shows readers what the loop says.
func (l *Loop) publish() {
	s := l.status
	s.Waiting = s.Applying && l.progress.attempt.IsZero()
	s.LocksHeld = make(map[string]bool, len(l.found.locked))
	for uuid := range l.found.locked {
		s.LocksHeld[uuid] = true
	}
	if refusals := l.refusals(); len(refusals) > 0 {
		s.Failed, s.Problems = true, append(refusals, s.Problems...)
	}
	s.Target, s.LocalMode, s.Waits = l.o.Resolver.Target(), l.config.have.LocalMode, l.waits
	p := l.progress
	p.applying = s.Applying
	l.health.Store(&p)
	l.o.Show(&s)
}

// Healthy tells whether applying makes progress: no attempt to apply is under way, or it downloads, or beside its
// downloads it took less than twice the poll interval (docs/spec/cloud.md 9.2).
func (l *Loop) Healthy(now time.Time) bool {
	p := l.health.Load()
	return !p.applying || p.attempt.IsZero() || !p.fetching.IsZero() || now.Sub(p.attempt)-p.fetched < 2*l.Settings().PollInterval
}
