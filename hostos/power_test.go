package hostos

import (
	"os"
	"path/filepath"
	"testing"
)

// cloud.md 1.2, 6.2: power mode and fan profile of an Orin are where the host looks, and nothing else
// changes.
func TestPower(t *testing.T) {
	f := func(before, mode, fan, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		err = c.SetPower(mode, fan)
		if (err != nil) != (want == "") {
			t.Errorf("%s: error %v", before, err)
		}
		if want == "" {
			want = before
		} else if gotMode, gotFan, err := c.Power(); gotMode != mode || gotFan != fan || err != nil {
			t.Errorf("%s says %q %q, %v", want, gotMode, gotFan, err)
		}
		if after, _ := os.ReadFile(path); string(after) != want {
			t.Errorf("%s became %s, want %s", before, after, want)
		}
	}
	f(`{"uuid":"u"}`, "low", "cool", `{"os":{"fan":{"profile":"cool"},"power":{"mode":"low"}},"uuid":"u"}`)
	f(`{"os":{"power":{"mode":"low"},"fan":{"profile":"cool"},"kernel":{"a":1}}}`, "", "quiet", `{"os":{"fan":{"profile":"quiet"},"kernel":{"a":1}}}`)
	f(`{"os":{"fan":{"profile":"cool"},"sshKeys":["k"]},"x":12345678901234567890}`, "", "", `{"os":{"sshKeys":["k"]},"x":12345678901234567890}`)
	f(`{"os":null}`, "", "", `{"os":{}}`)
	f(`{"os":"x"}`, "low", "", "")
	f(`{"os":"x"}`, "", "", "")
	f(`{"os":{"fan":7}}`, "", "cool", "")
}
