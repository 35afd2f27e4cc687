package update

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// loop is the only place that decides to apply something. It plans when something changed, runs
// what the plan lists beside what runs already, and plans again after each result. All its fields
// belong to the goroutine of run, in whichever file; others reach it through calls and results.
type loop struct {
	exec    *executor
	watch   *watch
	cell    *cell
	resolve *resolver
	targets *targets
	log     zerolog.Logger

	calls   chan func()
	results chan result

	// What is asked for, set through calls.
	actions map[string]*action // intermediate targets, by app uuid
	// requests are those for single services that were not answered yet, in their order.
	requests []*request
	force    bool // override update locks until the target is reached
	config   configuration
	leaving  *departure // nil unless the device is about to go down: no step begins then
	managed  bool
	// development tells whether people build images on the engine, nil means no.
	development func() bool
	// backupRetry is how long to wait after the backup could not be restored.
	backupRetry time.Duration
	backupSaid  string           // what was said of that last
	image       target.Reference // the agent's own

	inspection inspection
	// What is under way, from launch to finish.
	running map[string]*task // by step key
	freed   map[int]context.CancelFunc

	// What results left behind (result.go).
	backoff  *backoff
	held     map[string]int       // apps whose lock the loop holds: uuid to id
	leftover map[int]bool         // apps (id) with lock files of an earlier run
	kept     map[string]time.Time // images (reference, tag or id) that the engine refused to remove, and when
	looked   map[string]time.Time // images (reference) that were found to be had, and when
	noSpace  bool                 // the engine's storage was full, and room is still to be made
	reboot   bool                 // the request for a reboot was made since the last one
	firmware bool                 // the volume of extra firmware was prepared

	// What passes remember.
	trials      trials
	noted       map[string]*target.App // apps (uuid) whose settled form the book holds (settle.go)
	preloaded   bool                   // the preload file was looked at
	backup      bool                   // volumes are still to be filled from a backup
	loggedWaits map[string]string      // app uuid and service -> what was logged of its wait last
	adopted     bool                   // the keys of running containers were taken over
	earlier     map[string]bool        // containers (id) that were not started yet when the device booted

	status status
	show   func(status) // publishes status to readers
	counts counts
}

// task is a step under way.
type task struct {
	step    plan.Step
	cancel  context.CancelFunc
	request *request // nil for a step of the plan
}

// status is what readers see of the loop beside the current state.
type status struct {
	applying, pending, failed, downloaded bool
	problems                              []view.Problem // newest first
	next                                  time.Time
	since                                 time.Time     // when the apply began
	attempt                               time.Time     // since when steps of it are under way without a pause, zero in one
	fetching                              time.Time     // since when a download runs, zero when none does
	fetched                               time.Duration // time of this attempt that went into downloads
	held                                  map[string]int
	touched                               map[string]string // app uuid and service -> reason of the last step
	waits                                 []plan.Step       // of kind Wait: what services, and apps, wait for
	target                                *target.State
	apps                                  plan.Target
	rolledBack                            map[string]string // app uuid -> which release failed, and why
	localMode                             bool
}

const (
	maxPulls = 3 // downloads at once (docs/spec/engine.md 5.3)
	// keptFor is how long an image that the engine refused to remove is left alone, unless a new
	// target comes before.
	keptFor = time.Hour
	// lookedFor is how long a look at an image that is to be downloaded is relied upon.
	lookedFor = 10 * time.Minute
)

// run decides and applies until ctx ends; steps under way are broken off then.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	l.tellHost() // the device may have booted since
	for {
		timer.Stop()
		if next := sooner(l.pass(ctx), l.serve(ctx)); !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
		if len(l.running) == 0 {
			l.status.attempt = time.Time{}
			l.logWaits()
		}
		l.publish()
		select {
		case <-ctx.Done():
			l.drain()
			return
		case <-l.cell.wake:
		case <-timer.C:
		case call := <-l.calls:
			call()
		case r := <-l.results:
			l.finish(r)
		}
	}
}

// drain waits for the steps under way, which ctx has broken off.
func (l *loop) drain() {
	l.retryLocks()
	for len(l.running) > 0 {
		l.ended(<-l.results)
	}
	for len(l.requests) > 0 {
		l.answer(l.requests[0], context.Canceled)
	}
}

// call runs f in the loop's goroutine and waits for it.
func (l *loop) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pass plans once and begins every step that may run. It returns when the next waiting step is due,
// the zero time when none waits for its time.
func (l *loop) pass(ctx context.Context) time.Time {
	cur := l.cell.load()
	l.status.next = time.Time{}
	if l.leaving != nil {
		return time.Time{}
	}
	l.preload(ctx, cur)
	next, settled := l.configure(ctx, cur)
	if !settled {
		l.status.next = next
		return next
	}
	next = sooner(next, l.switchVPN(ctx))
	if !cur.Synced || l.resolve.target == nil {
		l.status.applying = l.status.applying && l.resolve.target != nil
		return next
	}
	if !l.adopted {
		adoptKeys(cur, l.resolve.keys, l.log)
		var err error
		if l.earlier, err = l.exec.book.earlier(l.exec.reboot, cur); err != nil {
			l.log.Error().Err(err).Msg("containers of an earlier boot may not be told apart")
		}
		l.adopted = true
	}
	if images := l.resolve.wanted(cur); len(images) > 0 {
		return sooner(next, l.inspect(ctx, images))
	}
	apps := l.resolve.apps(cur)
	l.status.apps, l.status.rolledBack = apps, l.resolve.rolledBack
	o := l.options()
	o.Trial, o.Restore = l.trials.of(l, apps), l.restoring(apps)
	steps := plan.Next(l.cell.load(), l.effective(apps), o)
	next = sooner(next, sooner(l.begin(ctx, steps), l.trials.begin(l, o.Trial, steps)))
	l.noSpace = l.noSpace && (len(l.cell.load().Pulls) > 0 || slices.ContainsFunc(steps, removesImage))
	l.settle(steps)
	l.status.next = next
	return next
}

// inspection is a look at images that the target needs before it can be resolved. It is no step: it changes
// nothing.
type inspection struct {
	underWay bool
	again    time.Time // not before this time, after one that failed
}

// inspect looks at images beside the loop, which has others to serve while the engine does not answer. It
// returns when to look again, the zero time when the result will come before.
func (l *loop) inspect(ctx context.Context, images []string) time.Time {
	if l.inspection.underWay || l.inspection.again.After(time.Now()) {
		return l.inspection.again
	}
	l.inspection = inspection{underWay: true}
	go func() {
		bounded, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		var err error
		for _, id := range images {
			err = firstOf(err, l.watch.look(bounded, object{"image", id}))
		}
		_ = l.call(ctx, func() {
			l.inspection.underWay = false
			if err != nil {
				l.log.Warn().Err(err).Msg("images of the target were not inspected")
				l.inspection.again = time.Now().Add(reconnectMin)
			}
		})
	}()
	return time.Time{}
}

// effective is the target with the intermediate targets of running actions in place.
func (l *loop) effective(apps plan.Target) plan.Target {
	if len(l.actions) == 0 {
		return apps
	}
	t := maps.Clone(apps)
	for uuid, a := range l.actions {
		if app := a.wants(); app != nil {
			t[uuid] = app
		} else {
			delete(t, uuid)
		}
	}
	return t
}

func (l *loop) options() plan.Options {
	o := plan.Options{
		Now: time.Now(), Held: l.held, Leftover: l.leftover, Kept: make(map[string]bool), Looked: make(map[string]bool), MaxPulls: maxPulls,
		CleanUp: !l.config.have.LocalMode, Supervisor: l.image, Deltas: l.deltas(), NoSpace: l.noSpace, FirmwareReady: l.firmware,
		KeepImages: l.keepsImages(), KeepVolumes: l.config.have.LocalMode,
		Earlier: l.earlier, RebootRequired: l.reboot && !l.config.unstored,
		Busy: make(map[string]bool), Intermediate: make(map[string]string), Purge: make(map[string]bool),
	}
	for _, t := range l.running {
		o.Busy[t.step.AppUUID] = true
		for _, r := range t.step.Records {
			o.Busy[r.AppUUID] = true
		}
	}
	for image, at := range l.kept {
		if o.Now.Sub(at) < keptFor {
			o.Kept[image] = true
		} else {
			delete(l.kept, image)
		}
	}
	for image, at := range l.looked {
		if o.Now.Sub(at) < lookedFor {
			o.Looked[image] = true
		}
	}
	for uuid, a := range l.actions {
		o.Intermediate[uuid] = a.reason
		o.Purge[uuid] = a.purge
	}
	return o
}

// keepsImages tells whether images stay that nothing uses any more: the layers of the last builds are what the
// next one begins with. On a device without a cloud, which is always in local mode, that is so only where
// people develop (docs/spec/engine.md 8.6).
func (l *loop) keepsImages() bool {
	return l.config.have.LocalMode && (l.managed || l.development != nil && l.development())
}

// begin starts the steps whose subject is free and whose time has come.
func (l *loop) begin(ctx context.Context, steps []plan.Step) (next time.Time) {
	now := time.Now()
	l.status.waits = nil
	for _, s := range steps {
		if s.Kind == plan.Wait {
			next = sooner(next, s.Until)
			l.fault(s)
			l.status.waits = append(l.status.waits, s)
			continue
		}
		if l.running[s.Key] != nil || l.reserved(s) || s.Kind == plan.ReleaseLock && l.works(s.AppID) {
			continue
		}
		if until := l.backoff.until(s); until.After(now) {
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

func (l *loop) launch(ctx context.Context, s plan.Step) {
	ctx, cancel := context.WithCancel(ctx)
	l.beginAttempt()
	l.running[s.Key] = &task{step: s, cancel: cancel}
	if service := s.ServiceName(); service != "" {
		l.status.touched = maps.Clone(l.status.touched)
		l.status.touched[current.Slot(s.AppUUID, service)] = string(s.Kind) + ": " + s.Reason
	}
	if s.Transfers() && l.status.fetching.IsZero() {
		l.status.fetching = time.Now()
	}
	l.logStep(l.log.Info(), s).Msg("step begins")
	force := l.force || l.config.have.OverrideLock
	if a := l.actions[s.AppUUID]; a != nil {
		force = force || a.force
	}
	go func() {
		defer cancel()
		l.results <- result{step: s, err: l.exec.run(ctx, s, force)}
	}()
}

// setTarget replaces the target. Downloads that nobody wants any more are broken off; other steps
// under way are let finish.
func (l *loop) setTarget(t *target.State, force bool) {
	l.resolve.target, l.resolve.stale = t, true
	if used := onHostNetwork(t); used != l.config.hostNetwork {
		l.config.hostNetwork = used
		l.config.changed(l.config.have, used)
	}
	l.force = force
	l.backoff.reset()
	l.exec.causes.Clear()
	clear(l.kept)
	clear(l.looked)
	l.forget(t)
	l.apply()
	l.beginAttempt()
	l.retryLocks()
	wanted := make(map[string]bool)
	for _, a := range t.Apps {
		if a.Release == nil {
			continue
		}
		for _, s := range a.Release.Services {
			wanted[s.Image] = true
		}
	}
	for _, running := range l.running {
		if running.step.Kind == plan.Fetch && !wanted[running.step.Image] || running.step.Kind == plan.Look {
			running.cancel()
		}
	}
}

// forget drops what is remembered of apps that are not in a target.
func (l *loop) forget(t *target.State) {
	for uuid := range l.noted {
		if t.Apps[uuid] == nil {
			delete(l.noted, uuid)
		}
	}
	for uuid := range l.resolve.told {
		if t.Apps[uuid] == nil {
			delete(l.resolve.told, uuid)
			delete(l.resolve.since, uuid)
		}
	}
	touched := make(map[string]string)
	for slot, reason := range l.status.touched {
		if uuid, _, _ := strings.Cut(slot, "/"); t.Apps[uuid] != nil {
			touched[slot] = reason
		}
	}
	l.status.touched = touched
}

// trigger tries everything again at once; with cancel running downloads start anew.
func (l *loop) trigger(force, cancel bool) {
	l.force = l.force || force
	l.backoff.retryNow()
	l.config.boot.looked = false
	l.retryLocks()
	if !cancel {
		return
	}
	for _, running := range l.running {
		if running.step.Kind == plan.Fetch {
			running.cancel()
		}
	}
}

// setFacts replaces what the device contributes to its containers. What differs then is new, so nothing
// waits for what had no effect before.
func (l *loop) setFacts(f compose.Facts) {
	if reflect.DeepEqual(f, l.resolve.facts) {
		return
	}
	l.resolve.facts, l.resolve.stale = f, true
	l.backoff.reset()
}

func (l *loop) publish() {
	s := l.status
	s.held = maps.Clone(l.held)
	if refusals := l.refusals(); len(refusals) > 0 {
		s.failed, s.problems = true, append(refusals, s.problems...)
	}
	s.target, s.localMode = l.resolve.target, l.config.have.LocalMode
	l.show(s)
}
