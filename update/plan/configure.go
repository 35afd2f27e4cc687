package plan

import (
	"strings"

	"resin-supervisor/update/settings"
)

// Configuration is what the planner knows of the settings of the device.
type Configuration struct {
	Have, Want settings.Settings
	Given      map[string]string // the variables that Want was parsed from
	// RebootRequired says that a reboot was requested since the device booted.
	RebootRequired bool
	// Boot is the change of the boot configuration, nil when none is needed.
	Boot *settings.Boot
	// Snapshot says that the objects of the engine were recorded before local mode. Managed says that the device
	// has a cloud. Without a cloud local mode never ends, so nothing is recorded.
	Snapshot, Managed bool
	// Engine says that the engine answers, and Idle that no step runs.
	Engine, Idle bool
}

// Configure lists the steps towards the wanted settings that may run now, in the order of docs/spec/cloud.md 6.4:
// first the settings, then the boot configuration, each after the request for a reboot that it needs, and last the
// change into or out of local mode. While it lists any step, nothing is planned for apps.
func Configure(c Configuration) []Step {
	step := Step{Kind: Set, Key: "configuration"}
	if changes := settings.Changes(c.Have, c.Want, c.Given); len(changes) > 0 {
		step.Settings, step.Changes, step.Reason = &c.Want, changes, changed(changes)
		for _, change := range changes {
			if change.Reboot && !c.RebootRequired {
				step.Kind = RequireReboot
			}
		}
		return []Step{step}
	}
	if c.Boot != nil {
		boot := Step{Kind: SetBoot, Key: "boot configuration", Boot: c.Boot, Reason: c.Boot.Why}
		if c.Boot.Reboot && !c.RebootRequired {
			boot.Kind = RequireReboot
		}
		return []Step{boot}
	}
	switch {
	case !c.Managed && !c.Snapshot || c.Have.LocalMode == c.Snapshot:
		return nil
	case c.Have.LocalMode:
		step.Kind, step.Reason = EnterLocal, "record what the engine has, to restore it after local mode"
	default:
		step.Kind, step.Reason = LeaveLocal, "remove what was added in local mode"
	}
	if !c.Engine || !c.Idle {
		step.Kind, step.Reason = Wait, "waits: "+step.Reason
	}
	return []Step{step}
}

// changed describes changes in one phrase.
func changed(changes []settings.Change) string {
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.Name + ": " + c.Old + " -> " + c.New
	}
	return strings.Join(texts, ", ")
}
