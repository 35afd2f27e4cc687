package update

import (
	"context"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
)

// vpn is what became of switching the host's VPN as the configuration says (docs/spec/cloud.md 6.2,
// SUPERVISOR_VPN_CONTROL). What is stored may keep the device from its cloud, so that nobody can
// correct it any more: off counts only once the cloud said so since the agent started.
type vpn struct {
	_ [0]func() // nobody compares it: no code for that

	wanted bool // by the configuration
	heard  bool // from the cloud, since the agent started
	on     bool // how it was switched last, once known is set
	known  bool
	again  time.Time // no attempt before
	told   string    // why the last attempt failed
}

// switched notes a success.
func (v *vpn) switched(on bool) {
	v.known, v.on, v.again, v.told = true, on, time.Time{}, ""
}

// refused notes a failure and tells whether it is another one than before.
func (v *vpn) refused(err error) (news bool) {
	news = v.told != err.Error()
	v.told = err.Error()
	return news
}

// vpnPause is between two attempts to switch the VPN, unless the target is reached before.
const vpnPause = time.Hour

// switchVPN begins to switch the VPN when it is not as it should be, and returns when to try again.
// Apps do not wait for it.
func (l *loop) switchVPN(ctx context.Context) (next time.Time) {
	v := &l.config.vpn
	on := v.wanted || !v.heard
	change := settings.Change{Name: settings.VPNControl, Old: settings.Flag(!on), New: settings.Flag(on)}
	if given, set := l.config.given[change.Name]; set && on == v.wanted {
		change.New = given
	}
	step := plan.Step{Kind: plan.SwitchVPN, Key: "vpn", Hold: !on, Reason: change.Name + " is " + change.New, Changes: []settings.Change{change}}
	switch {
	case l.exec.vpn == nil || !l.managed || v.known && v.on == on || l.running[step.Key] != nil:
		return time.Time{}
	case v.again.After(time.Now()):
		return v.again
	}
	v.again = time.Now().Add(vpnPause)
	l.launch(ctx, step)
	return time.Time{}
}

// switchVPN switches the VPN and says so when it is not yet as it should be.
func (x *executor) switchVPN(ctx context.Context, s plan.Step) error {
	text := changesText(s.Changes)
	changing := false
	err := x.vpn(ctx, !s.Hold, func() {
		changing = true
		x.say("Applying configuration change "+text, false)
	})
	switch {
	case err != nil && changing:
		x.say("Error applying configuration change: "+cause(err), true)
	case changing:
		x.say("Applied configuration change "+text, false)
	}
	return err
}

// Heard notes that the cloud was heard of: that what is stored of it is what it says now.
func (m *Manager) Heard() {
	_ = m.loop.call(m.life, func() { m.loop.config.vpn.heard = true })
}
