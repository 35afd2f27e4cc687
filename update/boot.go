package update

import (
	"errors"
	"maps"
	"slices"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/view"
)

// Boot is the boot configuration of the board (docs/spec/cloud.md 6.2, 6.7 to 6.9).
type Boot interface {
	// Current is what is in effect, by canonical variable.
	Current() map[string]string
	// Differs tells what it takes to have the boot configuration that a configuration says, nil when
	// nothing does. Refused are the variables whose values cannot be had, with the reason, a
	// *view.FixedBootError for a key that may not be changed. The error is of what cannot be read now. The
	// change does without both.
	Differs(config map[string]string) (change *settings.Boot, refused map[string]error, err error)
}

// boot is what the loop knows of the boot configuration. It is looked at when the target or the files
// may have changed, not on every pass. A variable whose value is refused stays as it is, and the others are
// written. What cannot be read or written is tried again after a while. Apps wait for neither, or one bad
// variable, or a boot partition that is full or damaged, would keep the device from ever being updated again.
type boot struct {
	_ [0]func() // nobody compares it: no code for that

	board  Boot // nil where there is none
	looked bool
	change *settings.Boot // nil when there is nothing to do
	err    error          // why it, or a part of it, can be neither read nor written
	told   string         // what users were told of that last
	// refused are the variables whose values cannot be had. Users were told of each.
	refused []view.Problem
	failed  int       // attempts in a row that ended with an error
	again   time.Time // when to look again after one
	alone   bool      // the reboot was requested for the boot configuration alone
	found   bool      // nobody configured the device yet: what is there stays (docs/spec/cloud.md 6.5)
}

const (
	// writtenDocument holds the last change that has its effect after a reboot only, and the boots in a
	// row in which it was written.
	writtenDocument = "written"
	// mostTimes is in how many boots in a row the same is written. Where something undoes it each time,
	// such as a host that restores the file, the device would else reboot for ever.
	mostTimes = 3
)

// bootChange is the change that the boot configuration needs, and when to look again if none can be had.
func (l *loop) bootChange() (change *settings.Boot, next time.Time) {
	b, now := &l.config.boot, time.Now()
	if b.board == nil || b.found {
		return nil, time.Time{}
	}
	if !b.looked || b.err != nil && !b.again.After(now) {
		refused := map[string]error(nil)
		b.change, refused, b.err = b.board.Differs(l.config.given)
		b.looked = true
		l.refuseVariables(refused)
		if b.change != nil || b.err == nil {
			if err := l.exec.lasts(b.change); err != nil {
				b.change, b.err = nil, errors.Join(b.err, err)
			}
		}
		if b.err != nil {
			l.bootTrouble(now)
		} else if b.change == nil {
			b.told, b.failed = "", 0
		}
	}
	if b.err == nil {
		return b.change, time.Time{}
	}
	return b.change, b.again
}

// refuseVariables notes the variables whose values cannot be had, and tells users of each once for as long
// as that stays so.
func (l *loop) refuseVariables(refused map[string]error) {
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
		l.exec.say(text, true)
		l.log.Error().Str("variable", name).Err(err).Msg("boot variable refused, it stays as it is")
	}
	l.config.boot.refused = list
}

// bootTrouble notes that the boot configuration cannot be read or written, and tells users once.
func (l *loop) bootTrouble(now time.Time) {
	b := &l.config.boot
	b.failed++
	b.again = now.Add(l.backoff.span(b.failed))
	l.status.failed = true
	if text := "Error setting boot config: " + cause(b.err); b.told != text {
		b.told = text
		l.exec.say(text, true)
	}
	l.log.Error().Err(b.err).Time("retry", b.again).Msg("boot configuration stays as it is")
	l.problem(plan.Step{Kind: plan.SetBoot, Reason: "the target wants a boot configuration that cannot be had"}, b.err.Error())
	l.status.problems[0].Retry = b.again
}

// bootFailed notes that the boot configuration could not be written. When all is as it was, there is no
// reason for the reboot either; else the reboot is needed, and the change counts as made, as it may be undone
// before the next boot.
func (l *loop) bootFailed(s plan.Step, err error) {
	b := &l.config.boot
	change, _, unknown := b.board.Differs(l.config.given)
	if unknown == nil && change != nil && change.Why == s.Boot.Why {
		if b.alone {
			l.reboot = l.exec.reboot.withdraw() != nil
		}
	} else if s.Kind == plan.SetBoot && s.Boot.Reboot {
		b.alone = false
		err = errors.Join(err, l.exec.wrote(s.Boot))
	}
	l.counts.step(s, false)
	b.change, b.err, b.looked = nil, err, true
	l.bootTrouble(time.Now())
}

// lasts refuses a change that was made in several boots in a row and was undone each time. One that is
// still there after a reboot is forgotten.
func (x *executor) lasts(change *settings.Boot) error {
	last := x.written()
	switch {
	case len(last) == 0 || last[len(last)-1] == x.reboot.id:
	case change == nil:
		return x.book.docs.Save(writtenDocument, bookVersion, []string{})
	case change.Why == last[0] && len(last) > mostTimes:
		return errors.New("what was written is undone at every start of the device")
	}
	return nil
}

func (x *executor) written() (last []string) {
	_, _ = x.book.docs.Load(writtenDocument, bookVersion, &last) // what is lost is counted anew
	return last
}

// wrote notes the boot in which a change was made.
func (x *executor) wrote(change *settings.Boot) error {
	last := x.written()
	if len(last) == 0 || last[0] != change.Why {
		last = []string{change.Why}
	}
	if last[len(last)-1] == x.reboot.id {
		return nil
	}
	return x.book.docs.Save(writtenDocument, bookVersion, append(last, x.reboot.id))
}

// setBoot makes the boot configuration what the target says.
func (x *executor) setBoot(s plan.Step) error {
	text := jsonText(s.Boot.Values)
	x.say("Applying boot config: "+text, false)
	err := s.Boot.Write()
	if err == nil && s.Boot.Reboot {
		err = x.wrote(s.Boot)
	}
	if err != nil {
		return err // bootTrouble says so
	}
	x.say("Applied boot config: "+text, false)
	return nil
}
