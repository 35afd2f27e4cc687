package hostos

import (
	"os"
	"path/filepath"
	"testing"
)

// engine.md 3.1: the volume's name goes where the host looks for it, and nothing else changes.
func TestNoteFirmwareVolume(t *testing.T) {
	f := func(before, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		err = c.NoteFirmwareVolume("extra-firmware")
		if (err != nil) != (want == "") {
			t.Errorf("%s: error %v", before, err)
		}
		if want == "" {
			want = before
		}
		if after, _ := os.ReadFile(path); string(after) != want {
			t.Errorf("%s became %s, want %s", before, after, want)
		}
	}
	f(`{"uuid":"u"}`, `{"os":{"kernel":{"extraFirmwareVol":"extra-firmware"}},"uuid":"u"}`)
	f(`{"os":null}`, `{"os":{"kernel":{"extraFirmwareVol":"extra-firmware"}}}`)
	f(`{"os":{"fan":{"profile":"cool"},"kernel":{"a":1,"extraFirmwareVol":"other"}}}`,
		`{"os":{"fan":{"profile":"cool"},"kernel":{"a":1,"extraFirmwareVol":"extra-firmware"}}}`)
	same := `{"os": {"kernel": {"extraFirmwareVol":"extra-firmware"}, "fan": {}},  "uuid":"u"}`
	f(same, same)
	f(`{"os":"x"}`, "")
	f(`{"os":{"kernel":[]}}`, "")
}
