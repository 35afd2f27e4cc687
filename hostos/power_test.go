package hostos

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// cloud.md 1.2, 6.2: power mode and fan profile of an Orin are set where the host reads them, and nothing else
// changes.
func TestPower(t *testing.T) {
	type vars = map[string]string
	f := func(before string, set vars, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetPower(set); err != nil {
			t.Errorf("%s: error %v", before, err)
		}
		if after, _ := os.ReadFile(path); string(after) != want {
			t.Errorf("%s became %s, want %s", before, after, want)
		}
		if got, err := c.Power(); err == nil && !maps.Equal(got, set) || (err == nil) != (before != `{"os":"x"}`) {
			t.Errorf("%s reads as %q, %v", want, got, err)
		}
	}
	f(`{"uuid":"u"}`, vars{"power_mode": "low", "fan_profile": "cool"}, `{"os":{"fan":{"profile":"cool"},"power":{"mode":"low"}},"uuid":"u"}`)
	f(`{"os":{"power":{"mode":"low"},"fan":{"profile":"cool"},"kernel":{"a":1}}}`, vars{"fan_profile": "quiet"}, `{"os":{"fan":{"profile":"quiet"},"kernel":{"a":1}}}`)
	f(`{"os":{"fan":{"profile":"cool"},"sshKeys":["k"]},"x":12345678901234567890}`, vars{}, `{"os":{"sshKeys":["k"]},"x":12345678901234567890}`)
	f(`{"os":{"power":{"mode":"high"}}}`, vars{"power_mode": "my mode \"<é>", "fan_profile": ""}, `{"os":{"fan":{"profile":""},"power":{"mode":"my mode \"\u003cé\u003e"}}}`)
	f(`{"os":{"fan":7}}`, vars{"fan_profile": "cool"}, `{"os":{"fan":{"profile":"cool"}}}`)
	f(`{"os":"x"}`, vars{"power_mode": "low"}, `{"os":"x"}`)
}
