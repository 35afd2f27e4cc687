package reconcile

import (
	"errors"
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/userlog"
	"resin-supervisor/update/view"
)

// Boot is the boot configuration of the board (docs/spec/cloud.md 6.2, 6.7 to 6.9).
type Boot interface {
	// Current is what is in effect, by canonical variable.
	Current() map[string]string
	// Differs returns the change to the boot configuration that a configuration wants, nil when there is nothing to
	// change. refused are the variables that are not applied, with the reason: a *view.FixedBootError for a key that may
	// not be changed. err says what cannot be read now. The change leaves out both.
	Differs(config map[string]string) (change *settings.Boot, refused map[string]error, err error)
}

// boot is what the loop knows of the boot configuration. The loop compares when the target or the files may have changed,
// not in every pass. A variable whose value is refused stays as it is, and the others are written. What cannot be read or
// written is tried again after a while. Apps wait for neither: one bad variable, or a boot partition that is full or
// damaged, would keep the device from ever being updated again.
type boot struct {
	compared bool
	change   *settings.Boot // nil when there is nothing to do
	err      error          // why it, or a part of it, can be neither read nor written
	said     string         // what users were told of that last
	// refused are the variables whose values are refused. Users were told of each.
	refused []view.Problem
	failed  int       // attempts in a row that ended with an error
	again   time.Time // when to try again after an error
	alone   bool      // the reboot was requested for the boot configuration alone
	found   bool      // nobody configured the device yet: what is there stays (docs/spec/cloud.md 6.5)
}

// bootChange is the change that the boot configuration needs, and when to try again after an error.
func (l *Loop) bootChange() (change *settings.Boot, next time.Time) {
	b, now := &l.config.boot, time.Now()
	if l.o.Device.Boot == nil || b.found {
		return nil, time.Time{}
	}
	if !b.compared || b.err != nil && !b.again.After(now) {
		refused := map[string]error(nil)
		b.change, refused, b.err = l.o.Device.Boot.Differs(l.config.given)
		b.compared = true
		l.refuseVariables(refused)
		if b.change != nil || b.err == nil {
			if err := l.o.Ledger.CheckBootChange(b.change); err != nil {
				b.change, b.err = nil, errors.Join(b.err, err)
			}
		}
		if b.err != nil {
			l.bootFailing(now)
		} else if b.change == nil {
			b.said, b.failed = "", 0
		}
	}
	if b.err == nil {
		return b.change, time.Time{}
	}
	return b.change, b.again
}

// refuseVariables notes the variables whose values are refused. It tells users of each variable once, until that
// changes.
func (l *Loop) refuseVariables(refused map[string]error) {
	var list []view.Problem
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		err := refused[name]
		p := view.Problem{At: time.Now(), Subject: "variable " + name, Step: "refused", Error: err.Error()}
		known := slices.IndexFunc(l.config.boot.refused, func(old view.Problem) bool { return old.Subject == p.Subject && old.Error == p.Error })
		if known >= 0 {
			list = append(list, l.config.boot.refused[known])
			continue
		}
		list = append(list, p)
		text := "Error setting boot config: " + name + ": " + p.Error + ". It stays as it is, the other variables are set"
		if fixed := (*view.FixedBootError)(nil); errors.As(err, &fixed) {
			text = p.Error
		}
		l.o.Users.Voice(text, true)
		l.o.Log.Error().Str("variable", name).Err(err).Msg("boot variable refused, it stays as it is")
	}
	l.config.boot.refused = list
}

// bootFailing notes that the boot configuration cannot be read or written, and tells users once.
func (l *Loop) bootFailing(now time.Time) {
	b := &l.config.boot
	b.failed++
	b.again = now.Add(l.backoff.Span(b.failed))
	l.status.Failed = true
	if text := "Error setting boot config: " + userlog.Cause(b.err); b.said != text {
		b.said = text
		l.o.Users.Voice(text, true)
	}
	l.o.Log.Error().Err(b.err).Time("retry", b.again).Msg("boot configuration stays as it is")
	l.problem(plan.Step{Kind: plan.SetBoot, Reason: "the boot configuration of the target cannot be read or written"}, b.err.Error())
	l.status.Problems[0].Retry = b.again
}

// bootFailed notes that the boot configuration could not be written. When nothing was written, the reboot is not needed
// either. Otherwise the reboot is needed, and the change counts as written, because something may undo it before the
// next boot.
func (l *Loop) bootFailed(s plan.Step, err error) {
	b := &l.config.boot
	change, _, unknown := l.o.Device.Boot.Differs(l.config.given)
	if unknown == nil && change != nil && change.Why == s.Boot.Why {
		if b.alone {
			l.found.rebootRequested = l.o.Ledger.Reboot.Withdraw() != nil
		}
	} else if s.Kind == plan.SetBoot && s.Boot.Reboot {
		b.alone = false
		err = errors.Join(err, l.o.Ledger.BootWritten(s.Boot))
	}
	l.counts.step(s, false)
	b.change, b.err, b.compared = nil, err, true
	l.bootFailing(time.Now())
}
