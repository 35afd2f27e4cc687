package plan

import (
	"testing"

	"resin-supervisor/update/settings"
)

// docs/spec/cloud.md 6.4: the request for a reboot, then the settings, then the boot configuration, then local
// mode; no step when nothing differs. cloud.md 86: the request comes before the change.
func TestConfigure(t *testing.T) {
	parse := func(config map[string]string) settings.Settings {
		s, _ := settings.Parse(config)
		return s
	}
	type vars = map[string]string
	f := func(name string, have, want vars, change func(*Configuration), kind Kind, reason string) {
		t.Helper()
		c := Configuration{Have: parse(have), Want: parse(want), Given: want, Managed: true, Engine: true, Idle: true}
		change(&c)
		steps := Configure(c)
		switch {
		case kind == "" && len(steps) == 0:
		case len(steps) != 1 || steps[0].Kind != kind || steps[0].Reason != reason:
			t.Errorf("%s: %v", name, steps)
		}
	}
	none := func(*Configuration) {}
	const delta, journal, local = "SUPERVISOR_DELTA", "SUPERVISOR_PERSISTENT_LOGGING", settings.LocalMode
	f("nothing", nil, nil, none, "", "")
	f("the same in other words", vars{delta: "on"}, vars{delta: "1"}, none, "", "")
	f("one", nil, vars{delta: "ON"}, none, Set, "SUPERVISOR_DELTA: false -> ON")
	f("reset", vars{delta: "1"}, nil, none, Set, "SUPERVISOR_DELTA: true -> false")
	f("reboot first", nil, vars{journal: "1", delta: "1"}, none, RequireReboot, "SUPERVISOR_DELTA: false -> 1, SUPERVISOR_PERSISTENT_LOGGING: false -> 1")
	f("reboot asked for", nil, vars{journal: "1"}, func(c *Configuration) { c.RebootRequired = true }, Set, "SUPERVISOR_PERSISTENT_LOGGING: false -> 1")
	f("settings before local mode", vars{local: "1"}, vars{local: "1", delta: "1"}, none, Set, "SUPERVISOR_DELTA: false -> 1")
	f("settings do not wait for the engine", nil, vars{local: "1"}, func(c *Configuration) { c.Engine, c.Idle = false, false }, Set, "SUPERVISOR_LOCAL_MODE: false -> 1")

	boot := func(reboot, required bool) func(*Configuration) {
		return func(c *Configuration) {
			c.Boot = &settings.Boot{Values: vars{"gpu_mem": "16"}, Why: "gpu_mem", Reboot: reboot}
			c.RebootRequired = required
			c.Engine, c.Idle = false, false // this needs no engine
		}
	}
	f("boot configuration", vars{local: "1"}, vars{local: "1"}, boot(true, false), RequireReboot, "gpu_mem")
	f("boot configuration and a reboot asked for", nil, nil, boot(true, true), SetBoot, "gpu_mem")
	f("boot configuration that needs no reboot", nil, nil, boot(false, false), SetBoot, "gpu_mem")
	f("settings before the boot configuration", nil, vars{delta: "1"}, boot(true, false), Set, "SUPERVISOR_DELTA: false -> 1")
	c := Configuration{Boot: &settings.Boot{Why: "x"}}
	if s := Configure(c)[0]; s.Boot != c.Boot || s.String() != "write boot configuration (x)" {
		t.Errorf("step: %+v", s)
	}

	const enter, leave = "record what the engine has, to restore it after local mode", "remove what was added in local mode"
	f("enter", vars{local: "1"}, vars{local: "1"}, none, EnterLocal, enter)
	f("entered", vars{local: "1"}, vars{local: "1"}, func(c *Configuration) { c.Snapshot = true }, "", "")
	f("enter without the engine", vars{local: "1"}, vars{local: "1"}, func(c *Configuration) { c.Engine = false }, Wait, "waits: "+enter)
	f("enter without a cloud", vars{local: "1"}, vars{local: "1"}, func(c *Configuration) { c.Managed = false }, "", "")
	f("leave", nil, nil, func(c *Configuration) { c.Snapshot = true }, LeaveLocal, leave)
	f("leave while steps run", nil, nil, func(c *Configuration) { c.Snapshot, c.Idle = true, false }, Wait, "waits: "+leave)
	f("note kept by a device that left its cloud", vars{local: "1"}, vars{local: "1"}, func(c *Configuration) { c.Snapshot, c.Managed = true, false }, "", "")
}
