package update

import (
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
	// departIn is how long after it was granted a reboot is asked of the host, so that the answer
	// gets to whoever wanted it (docs/spec/device-api.md 2.5).
	departIn = time.Second
	// stranded is how long after the host accepted to go down it counts as having stayed up.
	stranded = 10 * time.Minute
)

// departure is a reboot or a shutdown that was granted.
type departure struct {
	text  string // the system message
	call  func(context.Context) error
	ours  bool          // the target asks for it: what the loop holds for that target is no obstacle
	asked bool          // the host was asked
	done  chan struct{} // closed when the host has answered
	err   error         // what it answered, valid from then on
}

func departing(text string, call func(context.Context) error) *departure {
	return &departure{text: text, call: call, done: make(chan struct{})}
}

// Reboot takes the update locks of all apps and reboots the device a second later; until then, and
// from then on, no step of an update begins (docs/spec/device-api.md 2.5). With force, users' locks and an
// unfinished update of the host do not count. The error is a *view.LockedError when one of these, or
// an operation under way, forbids it. Should the host refuse in the end, everything goes on.
func (m *Manager) Reboot(ctx context.Context, force bool) error {
	_, err := m.depart(ctx, force, departing("Rebooting", m.power.Reboot))
	return err
}

// Shutdown switches the device off; all else is as with Reboot.
func (m *Manager) Shutdown(ctx context.Context, force bool) error {
	_, err := m.depart(ctx, force, departing("Shutting down", m.power.PowerOff))
	return err
}

// rebootToApply is the reboot that a target needs. It returns what the host answered.
func (m *Manager) rebootToApply(ctx context.Context, force bool) error {
	wanted := departing("Rebooting", m.power.Reboot)
	wanted.ours = true
	d, err := m.depart(ctx, force, wanted)
	if err != nil {
		return err
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// depart grants a departure, or finds that the same was granted already, which it returns then.
func (m *Manager) depart(ctx context.Context, force bool, d *departure) (granted *departure, err error) {
	if !force && m.power.updating() {
		return nil, &view.LockedError{Text: "Waiting for Host OS update to finish"}
	}
	ready := m.power.ready(ctx)
	if force && ready != nil {
		return nil, ready // before a user's lock is overridden for nothing
	}
	grant := func() error {
		refused := ready
		if refused == nil {
			err := m.loop.call(ctx, func() { granted, refused = m.loop.depart(d) })
			refused = firstOf(err, refused)
		}
		if granted == d {
			time.AfterFunc(departIn, func() { m.goDown(d) })
		}
		return refused
	}
	err = m.withAllLocks(ctx, force, force || d.ours, grant)
	return granted, err
}

// depart lets no step begin any more, and ends the actions, which would wait for ever.
func (l *loop) depart(d *departure) (granted *departure, err error) {
	if now := l.leaving; now != nil && !now.asked {
		if now.text != d.text {
			return nil, view.ErrLeaving
		}
		return now, nil
	}
	l.leaving = d
	for uuid, a := range l.actions {
		l.end(uuid, a, view.ErrLeaving)
	}
	l.log.Warn().Msg(d.text)
	l.exec.say(d.text, false)
	return d, nil
}

// goDown asks the host to go down. When it refuses, or does not go, steps begin again.
func (m *Manager) goDown(d *departure) {
	d.err = d.call(m.life)
	close(d.done)
	stay := func() {
		if m.loop.leaving == d {
			m.loop.leaving = nil
		}
	}
	_ = m.loop.call(m.life, func() {
		d.asked = true
		if d.err != nil {
			m.log.Error().Err(d.err).Msg("the host does not go down")
			stay()
			return
		}
		time.AfterFunc(stranded, func() { _ = m.loop.call(m.life, stay) })
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
