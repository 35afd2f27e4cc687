package reconcile

import (
	"maps"
	"strings"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// Trigger tries everything that waits again at once: with force, update locks are overridden until the target is
// reached; with cancel, running downloads begin again (docs/spec/device-api.md 2.4). It does not wait.
func (l *Loop) Trigger(force, cancel bool) {
	go func() { _ = l.call(l.life, func() { l.trigger(force, cancel) }) }()
}

func (l *Loop) trigger(force, cancel bool) {
	l.asked.force = l.asked.force || force
	l.backoff.RetryNow()
	l.config.boot.compared = false
	l.stopLockWaits()
	if !cancel {
		return
	}
	for _, running := range l.running {
		if running.step.Kind == plan.Fetch {
			running.cancel()
		}
	}
}

// Adopt makes the stored target the one that is applied. Who reads the view after it reads of this target, and that it
// is not applied yet.
func (l *Loop) Adopt(force bool) error {
	return l.call(l.life, func() {
		l.adopt(force)
		l.publish()
	})
}

func (l *Loop) adopt(force bool) {
	l.o.Targets.TellHost()
	for _, w := range l.config.set(l.o.Targets, &l.o.Device) {
		l.o.Users.Voice(w.Text, false)
	}
	if t := l.o.Targets.Active(); t != nil {
		l.setTarget(t, force)
	}
}

// Refuses says what of a target cannot be honoured. It is empty for a target that can.
func (l *Loop) Refuses(t *target.State) (lines []string, err error) {
	err = l.call(l.life, func() { lines = l.o.Resolver.Refuses(t) })
	return lines, err
}

// Heard says that the cloud was heard of: what is stored of the cloud is what it says now.
func (l *Loop) Heard() {
	_ = l.call(l.life, func() { l.config.vpn.heard = true })
}

// setTarget replaces the target. Downloads that nobody wants any more are cancelled. Other steps under way go on.
func (l *Loop) setTarget(t *target.State, force bool) {
	l.o.Resolver.SetTarget(t)
	if used := onHostNetwork(t); used != l.config.hostNetwork {
		l.config.hostNetwork = used
		l.tellConfigured(l.config.have)
	}
	l.asked.force = force
	l.backoff.Reset()
	l.o.Users.Forget()
	clear(l.found.undeletable)
	clear(l.found.checked)
	l.forget(t)
	l.apply()
	l.beginAttempt()
	l.stopLockWaits()
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
func (l *Loop) forget(t *target.State) {
	maps.DeleteFunc(l.memory.recorded, func(uuid string, _ *target.App) bool { return t.Apps[uuid] == nil })
	reasons := make(map[string]string)
	for key, reason := range l.status.Reasons {
		if uuid, _, _ := strings.Cut(key, "/"); t.Apps[uuid] != nil {
			reasons[key] = reason
		}
	}
	l.status.Reasons = reasons
}

// SetFacts replaces what the device contributes to its containers. What differs then is new, so nothing waits for what
// had no effect before.
func (l *Loop) SetFacts(f compose.Facts) error {
	return l.call(l.life, func() { l.setFacts(f) })
}

func (l *Loop) setFacts(f compose.Facts) {
	if l.o.Resolver.SetFacts(f) {
		l.backoff.Reset()
	}
}

// KeyChanged says that a service has another API key than before. The next pass, which follows at once, gives it to the
// container as the update locks allow, and actions that begin later use it (docs/spec/device-api.md 2.10). A service
// that renews its key at each start is slowed down like every step that comes up again. An agent that is about to end
// does all this at its next start.
func (l *Loop) KeyChanged() {
	_ = l.call(l.life, l.o.Resolver.Invalidate)
}
