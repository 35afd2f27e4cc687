package settings

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// cloud.md 80: BALENA_ wins over RESIN_, which wins over no prefix; unknown names are ignored.
// cloud.md 82: OVERRIDE_LOCK means SUPERVISOR_OVERRIDE_LOCK and wins.
func TestFold(t *testing.T) {
	f := func(in, want map[string]string) {
		t.Helper()
		for range 8 { // the order of the map must not matter
			if got := Fold(in); !maps.Equal(got, want) {
				t.Fatalf("Fold(%v) = %v, want %v", in, got, want)
			}
		}
	}
	const name = "SUPERVISOR_DELTA"
	f(map[string]string{name: "0", "RESIN_" + name: "1", "BALENA_" + name: "2"}, map[string]string{name: "2"})
	f(map[string]string{name: "0", "RESIN_" + name: "1"}, map[string]string{name: "1"})
	f(map[string]string{name: "0"}, map[string]string{name: "0"})
	f(map[string]string{"BALENA_FOO": "1", "HOST_LOG_TO_DISPLAY": "1", "RESIN_UI_X": "1", "": "1", "BALENA_": "1"}, map[string]string{})
	f(map[string]string{"BALENA_RESIN_" + name: "1"}, map[string]string{})
	f(map[string]string{"RESIN_OVERRIDE_LOCK": "1", "BALENA_SUPERVISOR_OVERRIDE_LOCK": "0"}, map[string]string{"SUPERVISOR_OVERRIDE_LOCK": "1"})
	f(map[string]string{"RESIN_HOST_CONFIG_hdmi_mode:1": "4", "HOST_SPLASH_IMAGE": "x"}, map[string]string{"HOST_CONFIG_hdmi_mode:1": "4", "HOST_SPLASH_IMAGE": "x"})
}

func TestDefaults(t *testing.T) {
	got, warnings := Parse(nil)
	want := Settings{
		PollInterval: 15 * time.Minute, InstantUpdates: true, ConnectivityCheck: true, LogControl: true, RequestTimeout: 59 * time.Second,
		DeltaRequestTimeout: 59 * time.Second, DeltaRetryCount: 30, DeltaRetryInterval: 10 * time.Second, DeltaVersion: 3,
		HardwareMetrics: true, VPNControl: true, FirewallMode: "off", Discoverability: true,
	}
	if got != want || len(warnings) != 0 {
		t.Errorf("defaults: %+v %v", got, warnings)
	}
	if c := Current(got); len(c) != 0 {
		t.Errorf("Current has defaults: %v", c)
	}
	if again, _ := Parse(Complete(nil)); again != got || len(Complete(nil)) != len(variables) {
		t.Error("Complete has other defaults")
	}
}

// cloud.md 81: an invalid value is replaced by the default, with a warning.
func TestParse(t *testing.T) {
	f := func(name, text string, valid bool, differs bool) {
		t.Helper()
		base, _ := Parse(nil)
		got, warnings := Parse(map[string]string{name: text})
		if (len(warnings) == 0) != valid || Differs(name, base, got) != differs || (got != base) != differs {
			t.Errorf("%s=%q: %+v, warnings %v", name, text, got, warnings)
		}
		if back, _ := Parse(Current(got)); back != got {
			t.Errorf("%s=%q does not survive the round trip: %v", name, text, Current(got))
		}
	}
	const flag, span, count = "SUPERVISOR_DELTA", "SUPERVISOR_POLL_INTERVAL", "SUPERVISOR_DELTA_RETRY_COUNT"
	for _, on := range []string{"1", "true", "on", "TRUE", "On"} {
		f(flag, on, true, true)
	}
	for _, off := range []string{"0", "false", "off", "OFF"} {
		f(flag, off, true, false)
	}
	for _, odd := range []string{"", "yes", "no", "2", " true", "null"} {
		f(flag, odd, false, false)
	}
	f(span, "600000", true, true)
	f(span, "600000.000", true, true)
	f(span, "900000.0", true, false)
	f(span, "0", true, true)
	f(count, "31", true, true)
	f(count, "030", true, false)
	for _, odd := range []string{"", "12.5", "x", "10 s", "10s", "0x10", "-1", "+5", ".5", ".", "1e3", " 1", "99999999999999999999", "9223372036855", "9223372036854", "315360000001"} {
		f(span, odd, false, false)
	}
	f(count, "4294967297", false, false)
	f("HOST_FIREWALL_MODE", "auto", true, true)
	f("HOST_FIREWALL_MODE", "", true, true)
}

func TestWarning(t *testing.T) {
	_, warnings := Parse(map[string]string{"SUPERVISOR_POLL_INTERVAL": "12.5"})
	const want = `Warning: Ignoring invalid device configuration value for appUpdatePollInterval, value: "12.5". Falling back to default (900000)`
	if len(warnings) != 1 || warnings[0].Text != want || warnings[0].Name != "SUPERVISOR_POLL_INTERVAL" {
		t.Errorf("warnings: %v", warnings)
	}
	_, warnings = Parse(map[string]string{"SUPERVISOR_DELTA": strings.Repeat("x", 1000)})
	if len(warnings) != 1 || len(warnings[0].Text) > 300 {
		t.Errorf("warning for a long value: %v", warnings)
	}
}

func TestChanges(t *testing.T) {
	have, _ := Parse(map[string]string{"SUPERVISOR_DELTA": "1", "SUPERVISOR_DELTA_RETRY_COUNT": "5"})
	config := map[string]string{"SUPERVISOR_DELTA": "ON", "SUPERVISOR_PERSISTENT_LOGGING": "1", "SUPERVISOR_DELTA_RETRY_COUNT": "many"}
	want, _ := Parse(config)
	changes := Changes(have, want, config)
	if !slices.Equal(changes, []Change{
		{"SUPERVISOR_DELTA_RETRY_COUNT", "5", "30", false}, {"SUPERVISOR_PERSISTENT_LOGGING", "false", "1", true},
	}) {
		t.Errorf("changes: %v", changes)
	}
	if changes := Changes(want, want, config); len(changes) != 0 {
		t.Errorf("changes between equal settings: %v", changes)
	}
}
