package update

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/cloud"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// loop is the only place that decides to apply something. It plans when something changed, runs
// what the plan lists beside what runs already, and plans again after each result. All its fields
// belong to the goroutine of run; others reach it through calls.
type loop struct {
	exec    *executor
	watch   *watch
	cell    *cell
	resolve *resolver
	log     zerolog.Logger

	calls   chan func()
	results chan result

	running  map[string]*task // by step key
	held     map[string]int   // apps whose lock the loop holds: uuid to id
	leftover map[int]bool     // apps (id) with lock files of an earlier run
	freed    map[int]context.CancelFunc
	actions  map[string]*action // intermediate targets, by app uuid
	backoff  *backoff
	trials   trials
	kept     map[string]time.Time   // images (reference, tag or id) that the engine refused to remove, and when
	image    target.Reference       // the agent's own
	noSpace  bool                   // the engine's storage was full, and room is still to be made
	leaving  *departure             // nil unless the device is about to go down: no step begins then
	reboot   bool                   // the request for a reboot was made since the last one
	firmware bool                   // the volume of extra firmware was prepared
	noted    map[string]*target.App // apps (uuid) whose settled form the book holds
	adopted  bool                   // the keys of running containers were taken over

	force   bool // override update locks until the target is reached
	managed bool
	config  configuration

	status status
	show   func(status) // publishes status to readers
	counts counts
}

// task is a step under way.
type task struct {
	step   plan.Step
	cancel context.CancelFunc
}

type result struct {
	step plan.Step
	err  error
}

// status is what readers see of the loop beside the current state.
type status struct {
	applying, pending, failed, downloaded bool
	problems                              []view.Problem // newest first
	next                                  time.Time
	since                                 time.Time     // when the apply began
	fetching                              time.Time     // since when a download runs, zero when none does
	fetched                               time.Duration // time of this apply that went into downloads
	held                                  map[string]int
	touched                               map[string]string // app uuid and service -> reason of the last step
	target                                *target.State
	apps                                  plan.Target
	rolledBack                            map[string]string // app uuid -> which release failed, and why
	localMode                             bool
}

const (
	maxPulls    = 3 // downloads at once (spec/engine.md 5.3)
	maxProblems = 16
	// keptFor is how long an image that the engine refused to remove is left alone, unless a new
	// target comes before.
	keptFor = time.Hour
)

// run decides and applies until ctx ends; steps under way are broken off then.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Stop()
		if next := l.pass(ctx); !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
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
		r := <-l.results
		delete(l.running, r.step.Key)
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
	if next, settled := l.configure(ctx, cur); !settled {
		l.status.next = next
		return next
	}
	if !cur.Synced || l.resolve.target == nil {
		l.status.applying = l.status.applying && l.resolve.target != nil
		return time.Time{}
	}
	if !l.adopted {
		adoptKeys(cur, l.resolve.keys, l.log)
		l.adopted = true
	}
	apps, err := l.resolve.apps(ctx, cur, l.watch)
	if err != nil {
		l.log.Warn().Err(err).Msg("images of the target were not inspected")
		return time.Now().Add(reconnectMin)
	}
	l.status.apps, l.status.rolledBack = apps, l.resolve.rolledBack
	o := l.options()
	o.Trial = l.trials.of(l, apps)
	steps := plan.Next(l.cell.load(), l.effective(apps), o)
	next := sooner(l.begin(ctx, steps), l.trials.begin(l, o.Trial, steps))
	l.noSpace = l.noSpace && (len(l.cell.load().Pulls) > 0 || slices.ContainsFunc(steps, removesImage))
	l.settle(steps)
	l.status.next = next
	return next
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
		Now: time.Now(), Held: l.held, Leftover: l.leftover, Kept: make(map[string]bool), MaxPulls: maxPulls,
		CleanUp: !l.config.have.LocalMode, Supervisor: l.image, Deltas: l.deltas(), NoSpace: l.noSpace, FirmwareReady: l.firmware,
		KeepImages: l.config.have.LocalMode && l.managed, KeepVolumes: l.config.have.LocalMode,
		Booted: l.exec.reboot.booted, RebootRequired: l.reboot,
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
		}
	}
	for uuid, a := range l.actions {
		o.Intermediate[uuid] = a.reason
		o.Purge[uuid] = a.purge
	}
	return o
}

// begin starts the steps whose subject is free and whose time has come.
func (l *loop) begin(ctx context.Context, steps []plan.Step) (next time.Time) {
	now := time.Now()
	for _, s := range steps {
		if s.Kind == plan.Wait {
			next = sooner(next, s.Until)
			l.fault(s)
			continue
		}
		if l.running[s.Key] != nil {
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

// fault tells of a target that cannot be reached, once for as long as it stays so.
func (l *loop) fault(s plan.Step) {
	if !s.Fault {
		return
	}
	l.status.failed = true
	for _, p := range l.status.problems {
		if p.Subject == s.Subject() && p.Error == s.Reason {
			return
		}
	}
	l.logStep(l.log.Error(), s).Msg("target cannot be reached")
	l.problem(s, s.Reason)
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
	l.running[s.Key] = &task{step: s, cancel: cancel}
	if service := s.ServiceName(); service != "" {
		l.status.touched = maps.Clone(l.status.touched)
		l.status.touched[current.Slot(s.AppUUID, service)] = string(s.Kind) + ": " + s.Reason
	}
	if s.Kind == plan.Fetch && l.status.fetching.IsZero() {
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

func (l *loop) logStep(e *zerolog.Event, s plan.Step) *zerolog.Event {
	e = e.Str("step", string(s.Kind))
	for _, field := range [...][2]string{
		{"app", s.AppName}, {"service", s.ServiceName()}, {"image", s.Image}, {"object", s.Object}, {"reason", s.Reason},
	} {
		if field[1] != "" {
			e = e.Str(field[0], field[1])
		}
	}
	return e
}

// finish takes the result of a step.
func (l *loop) finish(r result) {
	delete(l.running, r.step.Key)
	l.endFetch(r.step)
	if l.locked(r) {
		return
	}
	switch {
	case r.err == nil:
		l.succeeded(r.step)
	case removesImage(r.step) && engine.IsConflict(r.err):
		l.kept[r.step.Image] = time.Now()
		l.logStep(l.log.Warn(), r.step).Err(r.err).Msg("image stays for now, something else uses it")
	case errors.Is(r.err, cloud.ErrProcessing):
		until := l.backoff.pause(r.step, time.Now().Add(l.exec.settings().DeltaRetryInterval))
		l.logStep(l.log.Info(), r.step).Time("retry", until).Msg("the delta is still being made")
	case errors.Is(r.err, context.Canceled):
		l.logStep(l.log.Info(), r.step).Msg("step broken off")
	default:
		l.failed(r.step, r.err)
	}
}

// removesImage tells whether a step makes room in the engine's storage.
func removesImage(s plan.Step) bool { return s.Kind == plan.RemoveImage || s.Kind == plan.CleanUp }

// apply notes that an apply is under way.
func (l *loop) apply() {
	if !l.status.applying {
		l.status.applying, l.status.since, l.status.fetched = true, time.Now(), 0
	}
}

// endFetch counts the time of downloads, which no apply is to blame for (spec/cloud.md 9.2).
func (l *loop) endFetch(s plan.Step) {
	if s.Kind != plan.Fetch {
		return
	}
	for _, t := range l.running {
		if t.step.Kind == plan.Fetch {
			return
		}
	}
	l.status.fetched += time.Since(l.status.fetching)
	l.status.fetching = time.Time{}
}

func (l *loop) succeeded(s plan.Step) {
	l.counts.step(s, true)
	switch s.Kind {
	case plan.TakeLock:
		l.held[s.AppUUID] = s.AppID
	case plan.ReleaseLock:
		delete(l.held, s.AppUUID)
		delete(l.leftover, s.AppID)
	case plan.SweepLock:
		delete(l.leftover, s.AppID)
	case plan.Fetch:
		l.status.downloaded = true
	case plan.PrepareVolume:
		l.firmware = true
	case plan.RequireReboot:
		l.reboot = true
	case plan.RollBack:
		l.rolledBack(s)
	case plan.Set:
		l.configured(*s.Settings)
	}
	l.logStep(l.log.Debug(), s).Msg("step done")
	if l.backoff.done(s, time.Now()) {
		l.logStep(l.log.Warn(), s).Time("retry", l.backoff.until(s)).Msg("step came up again with the same reason, it must wait before the next time")
		l.problem(s, "came up again with the same reason, it had no lasting effect")
		l.status.problems[0].Repeated = true
	}
}

// failed notes a failure; an action that the step belongs to ends with it.
func (l *loop) failed(s plan.Step, err error) {
	l.counts.step(s, false)
	until := l.backoff.failed(s, time.Now())
	l.logStep(l.log.Error(), s).Err(err).Time("retry", until).Msg("step did not succeed")
	l.problem(s, err.Error())
	// Before the next attempt room is made; but not for ever, should just that be impossible.
	l.noSpace = (l.noSpace || engine.IsNoSpace(err)) && !removesImage(s)
	if a := l.actions[s.AppUUID]; a != nil {
		l.end(s.AppUUID, a, err)
		return
	}
	l.status.failed = true
}

// problem remembers what went wrong, newest first, one entry for each subject.
func (l *loop) problem(s plan.Step, text string) {
	p := view.Problem{
		At: time.Now(), Subject: s.Subject(), Step: string(s.Kind), Reason: s.Reason, Error: text, Retry: l.backoff.until(s),
	}
	kept := []view.Problem{p}
	for _, old := range l.status.problems {
		if (old.Subject != p.Subject || old.Step != p.Step) && len(kept) < maxProblems {
			kept = append(kept, old)
		}
	}
	l.status.problems = kept
}

// locked handles a lock that could not be taken: the app waits for its time and for the lock.
func (l *loop) locked(r result) bool {
	if r.step.Kind != plan.TakeLock {
		return false
	}
	held := (*view.LockedError)(nil)
	if !errors.As(r.err, &held) {
		return false
	}
	if l.actions[r.step.AppUUID] == nil {
		defer func() { l.exec.say.locked(time.Until(l.backoff.until(r.step)), r.err) }()
	}
	l.failed(r.step, r.err)
	if l.freed[r.step.AppID] == nil {
		ctx, cancel := context.WithCancel(context.Background())
		l.freed[r.step.AppID] = cancel
		go l.awaitLock(ctx, r.step)
	}
	return true
}

// awaitLock wakes the loop when a user lock of the app goes.
func (l *loop) awaitLock(ctx context.Context, s plan.Step) {
	err := l.exec.locks.dir.Wait(ctx, s.AppID)
	_ = l.call(ctx, func() {
		delete(l.freed, s.AppID)
		if err == nil {
			l.backoff.settled(s.AppUUID)
		}
	})
}

// settle notes which apps are done, tells waiting actions, and ends the apply when all are.
func (l *loop) settle(steps []plan.Step) {
	open := make(map[string]bool)
	for _, s := range steps {
		open[s.AppUUID] = true
		for _, r := range s.Records {
			open[r.AppUUID] = true
		}
	}
	for _, t := range l.running {
		open[t.step.AppUUID] = true
	}
	moved := false // an action went on: what is open now is for the next pass to say
	for _, uuid := range slices.Sorted(maps.Keys(l.actions)) {
		if !open[uuid] {
			l.advance(uuid, l.actions[uuid])
			moved = true
		}
	}
	for uuid, a := range l.status.apps {
		if !open[uuid] {
			l.backoff.settled(uuid)
			l.note(a)
		}
	}
	busy := moved || len(open) > 0 || len(l.actions) > 0
	if busy {
		l.apply()
		l.status.pending = l.status.pending || len(l.actions) == 0
		return
	}
	if l.status.applying {
		l.log.Info().Msg("target reached")
		l.counts.applied(time.Since(l.status.since))
	}
	l.force = false
	l.backoff.reached(time.Now())
	l.status.applying, l.status.pending, l.status.failed, l.status.downloaded = false, false, false, false
	l.status.problems = slices.DeleteFunc(slices.Clone(l.status.problems), func(p view.Problem) bool {
		return !p.Repeated || time.Since(p.At) > quiet
	})
}

// note keeps what the target says of a settled app up to date in the book, for the way back: it may
// change without a new release.
func (l *loop) note(a *compose.App) {
	if a.Source == nil || a.Commit == "" || a.Rejected != "" || l.noted[a.UUID] == a.Source || l.cell.load().Commits[a.UUID] != a.Commit {
		return
	}
	l.noted[a.UUID] = a.Source
	if err := l.exec.book.commit(a.UUID, a.Commit, a.Source); err != nil {
		l.log.Error().Err(err).Str("app", a.Name).Msg("release was not noted")
	}
}

// setTarget replaces the target. Downloads that nobody wants any more are broken off; other steps
// under way are let finish.
func (l *loop) setTarget(t *target.State, force bool) {
	l.resolve.target, l.resolve.stale = t, true
	l.force = force
	l.backoff.reset()
	clear(l.kept)
	l.apply()
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
		if running.step.Kind == plan.Fetch && !wanted[running.step.Image] {
			running.cancel()
		}
	}
}

// trigger tries everything again at once; with cancel running downloads start anew.
func (l *loop) trigger(force, cancel bool) {
	l.force = l.force || force
	l.backoff.retryNow()
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

// retryLocks breaks off waits for a lock that the loop itself stands in, so that they begin anew
// with the present force.
func (l *loop) retryLocks() {
	for _, stop := range l.freed {
		stop()
	}
	clear(l.freed)
}

// setFacts replaces what the device contributes to its containers.
func (l *loop) setFacts(f compose.Facts) {
	l.resolve.facts, l.resolve.stale = f, true
}

func (l *loop) publish() {
	s := l.status
	s.held = maps.Clone(l.held)
	s.target, s.localMode = l.resolve.target, l.config.have.LocalMode
	l.show(s)
}
