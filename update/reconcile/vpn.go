package reconcile

import (
	"context"
	"time"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
)

// vpn is the state of the host's VPN as far as the configuration says it (docs/spec/cloud.md 6.2,
// SUPERVISOR_VPN_CONTROL). A stored value may keep the device from its cloud, so that nobody can correct it. So off
// counts only once the cloud said off since the agent started.
type vpn struct {
	wanted bool // by the configuration
	heard  bool // from the cloud, since the agent started
	on     bool // how it was switched last, once known is set
	known  bool
	again  time.Time // no attempt before
	failed string    // why the last attempt failed
}

// switched notes a success.
func (v *vpn) switched(on bool) {
	v.known, v.on, v.again, v.failed = true, on, time.Time{}, ""
}

// refused notes a failure and tells whether it is another one than the last.
func (v *vpn) refused(err error) (changed bool) {
	changed = v.failed != err.Error()
	v.failed = err.Error()
	return changed
}

// vpnPause is between two attempts to switch the VPN, unless the target is reached before.
const vpnPause = time.Hour

// switchVPN begins to switch the VPN when it is not as it should be, and returns when to try again.
// Apps do not wait for it.
func (l *Loop) switchVPN(ctx context.Context) (next time.Time) {
	v := &l.config.vpn
	on := v.wanted || !v.heard
	change := settings.Change{Name: settings.VPNControl, Old: settings.Flag(!on), New: settings.Flag(on)}
	if given, set := l.config.given[change.Name]; set && on == v.wanted {
		change.New = given
	}
	step := plan.Step{Kind: plan.SwitchVPN, Key: "vpn", Hold: !on, Reason: change.Name + " is " + change.New, Changes: []settings.Change{change}}
	switch {
	case !l.o.Device.CanSwitchVPN || !l.o.Device.Managed || v.known && v.on == on || l.running[step.Key] != nil:
		return time.Time{}
	case v.again.After(time.Now()):
		return v.again
	}
	v.again = time.Now().Add(vpnPause)
	l.launch(ctx, step)
	return time.Time{}
}
