package settings_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// cloud.md 80: BALENA_ wins over RESIN_, which wins over no prefix, unknown names are ignored.
// cloud.md 81: a variable that is removed gets its default; an invalid value logs the warning and falls
// back, once. cloud.md 37: the poll interval is in config.json.
func TestVariablesOfTheCloud(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true})
	d.Start()
	said := func(what string, times int) {
		t.Helper()
		d.WaitLogged("Applying configuration change "+what, times)
		d.WaitLogged("Applied configuration change "+what, times)
	}
	const count = "SUPERVISOR_DELTA_RETRY_COUNT"
	d.set(vars{"RESIN_" + count: "5", "BALENA_" + count: "7", count: "6", "BALENA_FOO": "1", "RESIN_UI_X": "1"})
	said(`{"SUPERVISOR_DELTA_RETRY_COUNT":"7"}`, 1)
	shown := d.shown()
	if shown[count] != "7" || shown["FOO"] != "" || shown["UI_X"] != "" {
		t.Errorf("shown: %v", shown)
	}

	// What changes together is one change, and said as it was written; what means the same is none.
	d.set(vars{count: "7.0", "RESIN_SUPERVISOR_DELTA": "on", "RESIN_SUPERVISOR_HARDWARE_METRICS": "0", "BALENA_SUPERVISOR_POLL_INTERVAL": "3000"})
	said(`{"SUPERVISOR_DELTA":"on","SUPERVISOR_HARDWARE_METRICS":"0","SUPERVISOR_POLL_INTERVAL":"3000"}`, 1)
	if got := d.ReadConfig()["appUpdatePollInterval"]; got != 3000.0 {
		t.Errorf("poll interval in config.json: %#v", got)
	}
	file := d.ReadFile("boot/config.json")

	// A variable that went has its default; one that is no number, too, with a word about it.
	const warning = `Warning: Ignoring invalid device configuration value for deltaRetryCount, value: "12.5". Falling back to default (30)`
	d.set(vars{count: "12.5", "RESIN_SUPERVISOR_DELTA": "TRUE", "BALENA_SUPERVISOR_POLL_INTERVAL": "3000"})
	said(`{"SUPERVISOR_DELTA_RETRY_COUNT":"30","SUPERVISOR_HARDWARE_METRICS":"true"}`, 1)
	d.WaitLogged(warning, 1)
	// Where the default is in effect anyway there is nothing to warn of.
	d.set(vars{count: "12.6", "RESIN_SUPERVISOR_DELTA": "1", "BALENA_SUPERVISOR_POLL_INTERVAL": "3000", "RESIN_SUPERVISOR_LOG_CONTROL": "maybe"})
	d.PollNow()
	d.Restart()
	d.PollNow()
	d.WaitLogged(warning, 1)
	for _, text := range d.DeviceLog() {
		if text != warning && len(text) > 8 && text[:8] == "Warning:" {
			t.Errorf("said %q", text)
		}
	}
	said(`{"SUPERVISOR_DELTA_RETRY_COUNT":"30","SUPERVISOR_HARDWARE_METRICS":"true"}`, 1)
	if d.ReadFile("boot/config.json") != file {
		t.Errorf("config.json was written though nothing changed: %s", d.ReadFile("boot/config.json"))
	}
	d.set(nil)
	said(fmt.Sprintf(`{"SUPERVISOR_DELTA":"false","SUPERVISOR_POLL_INTERVAL":"%v"}`, 2000), 1)
}

// device-api.md 2.30: every variable is shown with its value or default, and those of the host that
// the target names.
func TestEveryVariableIsShown(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true})
	d.Start()
	d.set(vars{"BALENA_HOST_CONFIG_gpu_mem": "32", "RESIN_HOST_FIREWALL_MODE": "on", "SUPERVISOR_POLL_INTERVAL": "1e3"})
	want := vars{
		"SUPERVISOR_POLL_INTERVAL": "1e3", "SUPERVISOR_INSTANT_UPDATE_TRIGGER": "true", "SUPERVISOR_LOCAL_MODE": "false",
		"SUPERVISOR_CONNECTIVITY_CHECK": "true", "SUPERVISOR_LOG_CONTROL": "true", "SUPERVISOR_API_REQUEST_TIMEOUT": "59000",
		"SUPERVISOR_DELTA": "false", "SUPERVISOR_DELTA_REQUEST_TIMEOUT": "59000", "SUPERVISOR_DELTA_APPLY_TIMEOUT": "0",
		"SUPERVISOR_DELTA_RETRY_COUNT": "30", "SUPERVISOR_DELTA_RETRY_INTERVAL": "10000", "SUPERVISOR_DELTA_VERSION": "3",
		"SUPERVISOR_OVERRIDE_LOCK": "false", "SUPERVISOR_PERSISTENT_LOGGING": "false", "SUPERVISOR_HARDWARE_METRICS": "true",
		"SUPERVISOR_VPN_CONTROL": "true", "HOST_FIREWALL_MODE": "on", "HOST_DISCOVERABILITY": "true", "SUPERVISOR_ROLLBACK_TIMEOUT": "0",
		"HOST_CONFIG_gpu_mem": "32",
	}
	harness.Until(t, harness.Soon, "the configuration to be shown", func() error {
		shown := d.shown()
		delete(want, "SUPERVISOR_POLL_INTERVAL") // the cloud puts its own beside it
		delete(shown, "SUPERVISOR_POLL_INTERVAL")
		if !maps.Equal(shown, want) {
			return fmt.Errorf("%v", shown)
		}
		return nil
	})
}

// cloud.md 82: OVERRIDE_LOCK acts as SUPERVISOR_OVERRIDE_LOCK.
func TestOverrideLock(t *testing.T) {
	d := managed(t, harness.Setup{})
	d.Start()
	app := shop(t)
	d.set(nil, app)
	d.WaitSettled(harness.Soon)
	d.LockUpdates(31, "web")
	next := app.Released("bbbb2", 2).With(app.Services[0].Setting("NEW", "1"))
	id := d.Containers()["web"].ID
	d.set(nil, next)
	harness.Until(t, harness.Soon, "the lock to be told of", func() error {
		for _, text := range d.DeviceLog() {
			if len(text) > 19 && text[:19] == "Updates are locked," {
				return nil
			}
		}
		return errors.New("not told")
	})
	if d.Containers()["web"].ID != id {
		t.Error("a locked service was replaced")
	}
	d.set(vars{"RESIN_OVERRIDE_LOCK": "1", "RESIN_SUPERVISOR_OVERRIDE_LOCK": "0"}, next)
	d.WaitSettled(harness.Soon)
	if d.shown()["SUPERVISOR_OVERRIDE_LOCK"] != "1" {
		t.Errorf("shown: %v", d.shown())
	}
}

// cloud.md 83: persistent logging is in config.json and asks for one reboot; none follows it.
// cloud.md 6.6: the reboot waits for the apps.
func TestPersistentLoggingRebootsOnce(t *testing.T) {
	d := managed(t, harness.Setup{Bus: harness.NewBus(t)})
	d.Start()
	app := shop(t)
	d.set(vars{"RESIN_SUPERVISOR_PERSISTENT_LOGGING": "1"}, app)
	const scheduled = `Reboot has been scheduled to apply changes: {"SUPERVISOR_PERSISTENT_LOGGING":"1"}`
	d.WaitLogged(scheduled, 1)
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_PERSISTENT_LOGGING":"1"}`, 1)
	if got := d.ReadConfig()["persistentLogging"]; got != true {
		t.Errorf("config.json says %#v", got)
	}
	harness.Until(t, harness.Soon, "the reboot", func() error {
		if d.Bus.Asked("Reboot") == 0 {
			return errors.New("not asked for")
		}
		return nil
	})
	if err := d.Matches(); err != nil {
		t.Errorf("the reboot came before the apps were settled: %v", err)
	}
	breadcrumb := d.Path("root/tmp/balena-supervisor/reboot-after-apply")
	harness.Until(t, harness.Soon, "the clock to go on", func() error {
		if info, err := os.Stat(breadcrumb); err != nil || time.Since(info.ModTime()) < 2*time.Second {
			return fmt.Errorf("breadcrumb: %v", err)
		}
		return nil
	})
	d.Kill()
	asked, file := d.Bus.Asked("Reboot"), d.ReadFile("boot/config.json")
	d.RunBy(harness.Rebooted(t))
	d.Start()
	d.WaitSettled(harness.Soon)
	d.PollNow()
	d.WaitSettled(harness.Soon)
	if n := d.Bus.Asked("Reboot"); n != asked || d.CountLogged(scheduled) != 1 || d.ReadFile("boot/config.json") != file {
		t.Errorf("after the reboot: %d reboots asked for before and %d now, %d times scheduled", asked, n, d.CountLogged(scheduled))
	}
}

// docs/spec/cloud.md 6.4: settings that cannot be stored, on a boot partition that cannot be written, hold up no
// release. The device says that it failed, and stores them once it can.
func TestSettingsThatCannotBeStored(t *testing.T) {
	d := managed(t, harness.Setup{})
	d.Start()
	boot := d.Path("boot")
	for _, flags := range []uintptr{syscall.MS_BIND, syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY} {
		if err := syscall.Mount(boot, boot, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { syscall.Unmount(boot, syscall.MNT_DETACH) })
	app := shop(t)
	d.set(vars{"RESIN_SUPERVISOR_POLL_INTERVAL": "5000"}, app)
	harness.Until(t, harness.Soon, "the error to be told of", func() error {
		for _, text := range d.DeviceLog() {
			if strings.HasPrefix(text, "Error applying configuration change: ") && strings.Contains(text, "read-only file system") {
				return nil
			}
		}
		return errors.New("not told")
	})
	harness.Until(t, harness.Soon, "the app beside a failure", func() error { return errors.Join(d.UpdateFailed(), d.Matches()) })
	if err := syscall.Mount(boot, boot, "", syscall.MS_BIND|syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	d.WaitSettled(harness.Soon)
	if got := d.ReadConfig()["appUpdatePollInterval"]; got != 5000.0 {
		t.Errorf("config.json says %v", got)
	}
}
