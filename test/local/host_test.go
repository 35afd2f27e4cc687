package local_test

import (
	"os"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// host.md 10: the host is told of the configuration of a target that nobody but a client of the API, or
// apps.json, brought; and again after a boot, which empties /tmp, though no target comes then.
func TestHostKnowsTheConfigurationWithoutACloud(t *testing.T) {
	apps := harness.Target{Config: vars{"RESIN_SUPERVISOR_OVERRIDE_LOCK": "1", "HOST_EXTLINUX_fdt": "a"}}.V3()
	s := harness.StartSupervisor(t, harness.Setup{Apps: apps})
	s.WaitHostConfig(map[string]any{"BALENA_HOST_EXTLINUX_fdt": "a", "RESIN_HOST_EXTLINUX_fdt": "a", "SUPERVISOR_OVERRIDE_LOCK": "true", "RESIN_OVERRIDE_LOCK": "true"})
	s.WaitListed()
	s.PostTarget(harness.Target{Config: vars{"HOST_EXTLINUX_fdt": "b"}})
	local := map[string]any{"BALENA_HOST_EXTLINUX_fdt": "b", "RESIN_HOST_EXTLINUX_fdt": "b", "SUPERVISOR_OVERRIDE_LOCK": "false", "RESIN_OVERRIDE_LOCK": "false",
		"RESIN_SUPERVISOR_OVERRIDE_LOCK": nil}
	s.WaitHostConfig(local)
	s.Stop()
	if err := os.Remove(s.Path("root/tmp/balena-supervisor/target-state-config")); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.WaitHostConfig(local)
}

// host.md 10: in local mode the configuration is that of the local target, as far as it came last.
func TestHostKnowsTheConfigurationInLocalMode(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	at(s, vars{localMode: "1"})
	s.WaitHostConfig(map[string]any{localMode: "1", "SUPERVISOR_OVERRIDE_LOCK": "false"})
	harness.Until(t, harness.Soon, "the API without a key", func() error { return key(s, false) })
	s.PostTarget(harness.Target{Config: vars{"SUPERVISOR_LOCAL_MODE": "1", "SUPERVISOR_OVERRIDE_LOCK": "true"}})
	s.WaitHostConfig(map[string]any{localMode: "1", "BALENA_SUPERVISOR_OVERRIDE_LOCK": "true", "SUPERVISOR_OVERRIDE_LOCK": "true"})
}
