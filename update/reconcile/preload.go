package reconcile

import (
	"context"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
)

// preload reads the preload file of a managed device that has no target from its cloud yet, once the images of the
// engine are known. A file that cannot be used is logged, and read again at the next start.
func (l *Loop) preload(ctx context.Context, cur *current.State) {
	if l.memory.preloaded || !l.o.Device.Managed || !cur.Synced {
		return
	}
	l.memory.preloaded = true
	if l.o.Targets.Delivered() {
		l.o.Device.Preloaded()
		return
	}
	l.launch(ctx, plan.Step{Kind: plan.Preload, Key: "preload", Reason: "the device has no target from its cloud yet"})
}

// restoring names the app (uuid) whose volumes are filled from the backup: the fleet with the lowest id in the target. It
// is empty when there is no backup, and while that fleet has no release that can be applied.
func (l *Loop) restoring(apps plan.Target) string {
	if !l.memory.backup || l.o.Device.Managed && l.config.have.LocalMode {
		return ""
	}
	var first *compose.App
	for _, a := range apps {
		if a.Class == "fleet" && (first == nil || a.ID < first.ID) {
			first = a
		}
	}
	if first == nil || first.Commit == "" || first.Rejected != "" {
		return ""
	}
	return first.UUID
}

// sayBackup says why volumes were not restored. It says the same reason once.
func (l *Loop) sayBackup(err error) {
	if text := err.Error(); text != l.memory.backupSaid {
		l.memory.backupSaid = text
		l.o.Users.Voice.Event("Error restoring volumes from the backup", "", err)
	}
}
