package hostos

import (
	"os"
	"path/filepath"
	"testing"
)

// engine.md 3.1: the volume's name is set where the host reads it, and nothing else changes.
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

// Earlier changes by other processes are reported.
func TestNoteFirmwareVolumeTellsOfOthers(t *testing.T) {
	path := configFile(t, `{"uuid":"u","apiEndpoint":"https://a.example.com"}`)
	c := openConfig(t, path)
	reported, followed := "", 0
	c.onForeignChange = func(_, now Settings) { reported = now.APIEndpoint }
	c.Follow(func() { followed++ })
	if err := os.WriteFile(path, []byte(`{"uuid":"u","apiEndpoint":"https://b.example.com"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.NoteFirmwareVolume("v"); err != nil {
		t.Fatal(err)
	}
	if reported != "https://b.example.com" || followed != 1 || c.Get().APIEndpoint != reported {
		t.Errorf("reported %q, called %d times, settings %+v", reported, followed, c.Get())
	}
}
