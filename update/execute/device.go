package execute

import (
	"context"
	"errors"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/userlog"
)

// requestReboot asks for a reboot on behalf of a service, or of changes of the configuration, and says so.
func (x *Executor) requestReboot(s plan.Step) error {
	why := userlog.Changes(rebootChanges(s.Changes))
	if service := s.ServiceName(); service != "" {
		why = userlog.JSON(map[string]string{"serviceName": service})
	}
	err := x.ledger.Reboot.Request()
	if err == nil {
		x.users.Voice("Reboot has been scheduled to apply changes: "+why, false)
	}
	return err
}

// rebootChanges are the changes that need a reboot.
func rebootChanges(all []settings.Change) []settings.Change {
	var changes []settings.Change
	for _, c := range all {
		if c.Reboot {
			changes = append(changes, c)
		}
	}
	return changes
}

// switchVPN switches the VPN, and says so when the VPN was not yet as wanted.
func (x *Executor) switchVPN(ctx context.Context, s plan.Step) error {
	text := userlog.Changes(s.Changes)
	changing := false
	err := x.host.VPN(ctx, !s.Hold, func() {
		changing = true
		x.users.Voice("Applying configuration change "+text, false)
	})
	switch {
	case err != nil && changing:
		x.users.Voice("Error applying configuration change: "+userlog.Cause(err), true)
	case changing:
		x.users.Voice("Applied configuration change "+text, false)
	}
	return err
}

// storeSettings makes settings durable that config.json has. The others are durable with the target.
func (x *Executor) storeSettings(s plan.Step) error {
	text := userlog.Changes(s.Changes)
	x.users.Voice("Applying configuration change "+text, false)
	if err := x.host.StoreSettings(*s.Settings); err != nil {
		x.users.Voice("Error applying configuration change: "+userlog.Cause(err), true)
		return err
	}
	x.users.Voice("Applied configuration change "+text, false)
	return nil
}

// writeBoot makes the boot configuration what the target says. The loop says what went wrong.
func (x *Executor) writeBoot(s plan.Step) error {
	text := userlog.JSON(s.Boot.Values)
	x.users.Voice("Applying boot config: "+text, false)
	err := s.Boot.Write()
	if err == nil && s.Boot.Reboot {
		err = x.ledger.BootWritten(s.Boot)
	}
	if err != nil {
		return err
	}
	x.users.Voice("Applied boot config: "+text, false)
	return nil
}

// preload takes over the preload file of a managed device.
func (x *Executor) preload(ctx context.Context) error {
	uuidOf := func(id int) (string, error) {
		if x.host.AppUUID == nil {
			return "", errors.New("there is no cloud to ask for the uuid of an app")
		}
		return x.host.AppUUID(ctx, id)
	}
	images := x.store.Load().Finder()
	_, err := x.targets.Preload(uuidOf, func(image string) bool { return images.Find(image) != nil })
	return err
}
