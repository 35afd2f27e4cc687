package update

import (
	"errors"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/view"
)

// Boot is the boot configuration of the board (spec/cloud.md 6.2, 6.7 to 6.9).
type Boot interface {
	// Current is what is in effect, by canonical variable.
	Current() map[string]string
	// Differs tells what it takes to have the boot configuration that a configuration says, nil when
	// nothing does. An error, *view.FixedBootError for a key that may not be changed, says that it
	// cannot be had.
	Differs(config map[string]string) (*settings.Boot, error)
}

// boot is what the loop knows of the boot configuration. It is looked at when the target or the files
// may have changed, not on every pass. One that cannot be had is looked at again after a while; apps do
// not wait for it, or one bad variable would keep the device from ever being updated again.
type boot struct {
	_ [0]func() // nobody compares it: no code for that

	board  Boot // nil where there is none
	looked bool
	change *settings.Boot // nil when there is nothing to do
	err    error          // why it cannot be had
	told   string         // what users were told of that last
	failed int            // looks in a row that ended with an error
	again  time.Time      // when to look again after one
}

// bootChange is the change that the boot configuration needs, and when to look again if none can be had.
func (l *loop) bootChange() (change *settings.Boot, next time.Time) {
	b, now := &l.config.boot, time.Now()
	if b.board == nil {
		return nil, time.Time{}
	}
	if !b.looked || b.err != nil && !b.again.After(now) {
		b.change, b.err = b.board.Differs(l.config.given)
		b.looked = true
		if b.err == nil {
			b.told, b.failed, b.again = "", 0, time.Time{}
		} else {
			l.bootRefused(now)
		}
	}
	if b.err != nil {
		return nil, b.again
	}
	return b.change, time.Time{}
}

// bootRefused notes that the boot configuration cannot be had, and tells users once.
func (l *loop) bootRefused(now time.Time) {
	b := &l.config.boot
	b.failed++
	b.again = now.Add(l.backoff.span(b.failed))
	l.status.failed = true
	text := "Error setting boot config: " + cause(b.err)
	if fixed := (*view.FixedBootError)(nil); errors.As(b.err, &fixed) {
		text = fixed.Error()
	}
	if b.told != text {
		b.told = text
		l.exec.say(text, true)
	}
	l.log.Error().Err(b.err).Time("retry", b.again).Msg("boot configuration stays as it is")
	l.problem(plan.Step{Kind: plan.SetBoot, Reason: "the target wants a boot configuration that cannot be had"}, b.err.Error())
	l.status.problems[0].Retry = b.again
}

// setBoot makes the boot configuration what the target says.
func (x *executor) setBoot(s plan.Step) error {
	text := jsonText(s.Boot.Values)
	x.say("Applying boot config: "+text, false)
	if err := s.Boot.Write(); err != nil {
		x.say("Error setting boot config: "+cause(err), true)
		return err
	}
	x.say("Applied boot config: "+text, false)
	return nil
}
