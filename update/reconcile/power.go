package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"resin-supervisor/update/view"
)

// Power is the way to the host for a reboot and for switching it off.
type Power struct {
	// Ready tells why nobody can be asked now, nil when somebody can.
	Ready func(context.Context) error
	// Reboot and PowerOff return when the host has accepted, or refused, to go down.
	Reboot, PowerOff func(context.Context) error
	// Updating are files of which each says that an update of the host OS is not finished.
	Updating []string
}

const (
	// powerOffDelay is the time between the grant and the call of the host, so that the answer gets to whoever asked
	// (docs/spec/device-api.md 2.5).
	powerOffDelay = time.Second
	// powerOffTimeout is how long after the host agreed to go down it counts as having stayed up.
	powerOffTimeout = 10 * time.Minute
)

// powerOff is a reboot or a shutdown that was granted.
type powerOff struct {
	text  string // the system message
	call  func(context.Context) error
	ours  bool          // the target asks for it: what the loop holds for that target is no obstacle
	asked bool          // the host was asked
	done  chan struct{} // closed when the host has answered
	err   error         // what the host answered, valid from then on
}

func newPowerOff(text string, call func(context.Context) error) *powerOff {
	return &powerOff{text: text, call: call, done: make(chan struct{})}
}

// Reboot takes the update locks of all apps and reboots the device a second later. Until then, and from then on, no step
// of an update begins (docs/spec/device-api.md 2.5). With force, users' locks and an unfinished update of the host do
// not count. The error is a *view.LockedError when one of these, or an operation under way, forbids it. When the host
// refuses in the end, everything goes on.
func (l *Loop) Reboot(ctx context.Context, force bool) error {
	_, err := l.grant(ctx, force, newPowerOff("Rebooting", l.o.Device.Power.Reboot))
	return err
}

// Shutdown switches the device off. All else is as with Reboot.
func (l *Loop) Shutdown(ctx context.Context, force bool) error {
	_, err := l.grant(ctx, force, newPowerOff("Shutting down", l.o.Device.Power.PowerOff))
	return err
}

// RebootToApply is the reboot that a target needs. It returns what the host answered.
func (l *Loop) RebootToApply(ctx context.Context, force bool) error {
	wanted := newPowerOff("Rebooting", l.o.Device.Power.Reboot)
	wanted.ours = true
	p, err := l.grant(ctx, force, wanted)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// grant grants a reboot or shutdown. When the same was granted already, it returns that.
func (l *Loop) grant(ctx context.Context, force bool, p *powerOff) (granted *powerOff, err error) {
	power := &l.o.Device.Power
	if !force && power.updating() {
		return nil, &view.LockedError{Text: "Waiting for Host OS update to finish"}
	}
	ready := power.ready(ctx)
	if force && ready != nil {
		return nil, ready // before a user's lock is overridden for nothing
	}
	grant := func() error {
		refused := ready
		if refused == nil {
			err := l.call(ctx, func() { granted, refused = l.goingDown(p) })
			refused = cmp.Or(err, refused)
		}
		if granted == p {
			time.AfterFunc(powerOffDelay, func() { l.issuePowerOff(p) })
		}
		return refused
	}
	err = l.withAllLocks(ctx, force, force || p.ours, grant)
	return granted, err
}

// goingDown lets no step of a plan begin any more, and ends the actions, which would wait for ever.
func (l *Loop) goingDown(p *powerOff) (granted *powerOff, err error) {
	if now := l.asked.powerOff; now != nil && !now.asked {
		if now.text != p.text {
			return nil, view.ErrLeaving
		}
		return now, nil
	}
	l.asked.powerOff = p
	for uuid, a := range l.asked.actions {
		l.end(uuid, a, view.ErrLeaving)
	}
	l.o.Log.Warn().Msg(p.text)
	l.o.Users.Voice(p.text, false)
	return p, nil
}

// issuePowerOff asks the host to go down. When the host refuses, or stays up, steps begin again.
func (l *Loop) issuePowerOff(p *powerOff) {
	p.err = p.call(l.life)
	close(p.done)
	stay := func() {
		if l.asked.powerOff == p {
			l.asked.powerOff = nil
		}
	}
	_ = l.call(l.life, func() {
		p.asked = true
		if p.err != nil {
			l.o.Log.Error().Err(p.err).Msg("the host does not go down")
			stay()
			return
		}
		time.AfterFunc(powerOffTimeout, func() { _ = l.call(l.life, stay) })
	})
}

func (p Power) updating() bool {
	for _, path := range p.Updating {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

func (p Power) ready(ctx context.Context) error {
	if p.Ready == nil {
		return errors.New("Logind unavailable")
	}
	if err := p.Ready(ctx); err != nil {
		return fmt.Errorf("Logind unavailable: %w", err)
	}
	return nil
}
