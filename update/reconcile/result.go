package reconcile

import (
	"context"
	"errors"
	"time"

	"resin-supervisor/update/delta"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/view"
)

// result is what became of a step.
type result struct {
	step plan.Step
	err  error
}

// minRetry is the least time between two requests for a delta, whatever the configuration says.
const minRetry = 100 * time.Millisecond

// finish takes the result of a step.
func (l *Loop) finish(r result) {
	if l.ended(r) {
		return
	}
	if r.step.Kind == plan.Preload {
		defer l.o.Device.Preloaded()
	}
	l.config.boot.compared = l.config.boot.compared && r.step.Boot == nil
	l.endFetch(r.step)
	if l.locked(r) {
		return
	}
	switch {
	case r.err == nil:
		l.succeeded(r.step)
	case removesImage(r.step) && engine.IsConflict(r.err):
		l.found.undeletable[r.step.Image] = time.Now()
		l.logStep(l.o.Log.Warn(), r.step).Err(r.err).Msg("image stays for now, something else uses it")
	case errors.Is(r.err, delta.ErrProcessing):
		until := l.backoff.Pause(r.step, time.Now().Add(max(l.config.have.DeltaRetryInterval, minRetry)))
		l.logStep(l.o.Log.Info(), r.step).Time("retry", until).Msg("the delta is still being made")
	case errors.Is(r.err, context.Canceled):
		l.logStep(l.o.Log.Info(), r.step).Msg("step broken off")
	case r.step.Kind == plan.SwitchVPN:
		if l.config.vpn.refused(r.err) {
			l.logStep(l.o.Log.Warn(), r.step).Err(r.err).Time("retry", l.config.vpn.again).Msg("step did not succeed")
		}
	case r.step.Boot != nil:
		l.bootFailed(r.step, r.err)
	default:
		l.failed(r.step, r.err)
	}
}

// ended takes a step off those under way. It tells whether a request was all that the step was for.
func (l *Loop) ended(r result) bool {
	t := l.running[r.step.Key]
	delete(l.running, r.step.Key)
	if t == nil || t.request == nil {
		return false
	}
	if r.step.Kind == plan.RemoveVolume && engine.IsConflict(r.err) {
		l.logStep(l.o.Log.Info(), r.step).Err(r.err).Msg("volume stays, something else uses it")
		l.answer(t.request, r.err)
		return true
	}
	l.counts.step(r.step, r.err == nil)
	if r.err != nil {
		l.logStep(l.o.Log.Error(), r.step).Err(r.err).Msg("step did not succeed")
	} else {
		l.logStep(l.o.Log.Debug(), r.step).Msg("step done")
	}
	l.answer(t.request, r.err)
	return true
}

// removesImage tells whether a step makes room in the engine's storage.
func removesImage(s plan.Step) bool { return s.Kind == plan.RemoveImage || s.Kind == plan.CleanUp }

// endFetch counts the time of downloads, which no apply is to blame for (docs/spec/cloud.md 9.2).
func (l *Loop) endFetch(s plan.Step) {
	if !s.Transfers() {
		return
	}
	for _, t := range l.running {
		if t.step.Transfers() {
			return
		}
	}
	l.progress.fetched += time.Since(l.progress.fetching)
	l.progress.fetching = time.Time{}
}

func (l *Loop) succeeded(s plan.Step) {
	l.counts.step(s, true)
	switch s.Kind {
	case plan.TakeLock:
		l.found.locked[s.AppUUID] = s.AppID
	case plan.ReleaseLock:
		delete(l.found.locked, s.AppUUID)
		delete(l.found.leftover, s.AppID)
	case plan.SweepLock:
		delete(l.found.leftover, s.AppID)
	case plan.Look:
		for _, image := range s.Images {
			l.found.checked[image] = time.Now()
		}
	case plan.Fetch, plan.Save:
		l.status.Downloaded = true
	case plan.PrepareVolume:
		l.found.firmwareReady = true
	case plan.RequireReboot:
		l.config.boot.alone = s.Boot != nil && !l.found.rebootRequested
		l.found.rebootRequested = true
	case plan.RollBack:
		l.rolledBack(s)
	case plan.SwitchVPN:
		l.config.vpn.switched(!s.Hold)
	case plan.Preload:
		l.adopt(false)
	case plan.Restore:
		l.memory.backup = false
	case plan.Set:
		l.config.boot.alone = false // they may need the reboot too
		l.configured(*s.Settings)
		l.backoff.RetryNow() // they may wait for what is otherwise now
	}
	l.logStep(l.o.Log.Debug(), s).Msg("step done")
	if l.backoff.Done(s, time.Now()) {
		l.logStep(l.o.Log.Warn(), s).Time("retry", l.backoff.Until(s)).Msg("step had no lasting effect, backing off")
		l.problem(s, "came up again, it had no lasting effect")
		l.status.Problems[0].Repeated = true
	}
}

// failed notes a failure; an action that the step belongs to ends with it.
func (l *Loop) failed(s plan.Step, err error) {
	l.counts.step(s, false)
	until := l.backoff.Failed(s, time.Now())
	if s.Kind == plan.Restore {
		until = l.backoff.Pause(s, time.Now().Add(l.o.Device.BackupRetry))
		l.sayBackup(err)
	}
	if s.Kind == plan.Set {
		l.notStored(*s.Settings)
	}
	l.logStep(l.o.Log.Error(), s).Err(err).Time("retry", until).Msg("step did not succeed")
	l.problem(s, err.Error())
	delete(l.found.checked, s.Image) // it is not to be had after all
	// Before the next attempt room is made; but not for ever, should just that be impossible.
	l.found.noSpace = (l.found.noSpace || engine.IsNoSpace(err) || errors.Is(err, engine.ErrNoRoom)) && !removesImage(s)
	if a := l.asked.actions[s.AppUUID]; a != nil {
		l.end(s.AppUUID, a, err)
		return
	}
	l.status.Failed = true
}

// locked handles a lock that could not be taken: the app waits for its time and for the lock.
func (l *Loop) locked(r result) bool {
	if r.step.Kind != plan.TakeLock {
		return false
	}
	held := (*view.LockedError)(nil)
	if !errors.As(r.err, &held) {
		return false
	}
	if l.asked.actions[r.step.AppUUID] == nil {
		defer func() { l.o.Users.Voice.Locked(time.Until(l.backoff.Until(r.step)), r.err) }()
	}
	l.failed(r.step, r.err)
	if l.found.lockWaits[r.step.AppID] == nil {
		ctx, cancel := context.WithCancel(context.Background())
		l.found.lockWaits[r.step.AppID] = cancel
		go l.awaitLock(ctx, r.step)
	}
	return true
}

// awaitLock wakes the loop when a user lock of the app goes.
func (l *Loop) awaitLock(ctx context.Context, s plan.Step) {
	err := l.o.Locks.Dir.Wait(ctx, s.AppID)
	_ = l.call(ctx, func() {
		if ctx.Err() != nil {
			return // given up, and another wait may be in its place
		}
		delete(l.found.lockWaits, s.AppID)
		if err == nil {
			l.backoff.Settled(s.AppUUID)
		}
	})
}

// stopLockWaits ends the waits for locks, so that they begin again with the present force.
func (l *Loop) stopLockWaits() {
	for _, stop := range l.found.lockWaits {
		stop()
	}
	clear(l.found.lockWaits)
}
