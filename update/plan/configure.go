package plan

import (
	"strings"

	"resin-supervisor/update/settings"
)

// Configuration is what the planner may know of the settings of the device.
type Configuration struct {
	Have, Want settings.Settings
	Given      map[string]string // what Want was parsed from
	// RebootRequired says that the request for a reboot was made since the device booted.
	RebootRequired bool
	// Boot is what of the boot configuration is to become otherwise, nil when nothing is.
	Boot *settings.Boot
	// Snapshot says that it was noted what the engine had before local mode, and Managed that there is
	// another mode: without a cloud nothing is noted, since nothing comes back.
	Snapshot, Managed bool
	// Engine says that the engine can be asked, and Idle that no step runs.
	Engine, Idle bool
}

// Configure lists the steps towards the wanted settings that may run now, in the order of
// docs/spec/cloud.md 6.4: the request for a reboot, the settings; when none of these changes, the same for the
// boot configuration; and the way into or out of local mode.
// While there are any, nothing is planned for apps.
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
		step.Kind, step.Reason = EnterLocal, "what the engine has now is to be there after local mode"
	default:
		step.Kind, step.Reason = LeaveLocal, "what was added in local mode goes"
	}
	if !c.Engine || !c.Idle {
		step.Kind, step.Reason = Wait, "waits: "+step.Reason
	}
	return []Step{step}
}

// changed lists changes in one phrase.
func changed(changes []settings.Change) string {
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.Name + ": " + c.Old + " -> " + c.New
	}
	return strings.Join(texts, ", ")
}
