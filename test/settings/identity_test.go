package settings_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// docs/spec/host.md 9: 4; 3.2: a device whose config.json is broken or gone is the same device of the same
// cloud, says so until the next start, and keeps the broken file.
func TestIdentityComesBack(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"zeros": func(path string) error { return os.WriteFile(path, make([]byte, 700), 0o644) },
		"half":  func(path string) error { return os.Truncate(path, 90) },
		"gone":  os.Remove,
		"a FIFO": func(path string) error {
			os.Remove(path)
			return syscall.Mkfifo(path, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := managed(t, harness.Setup{WithoutContainers: true, Config: map[string]any{"wifiKey": "a <b> & ü"}})
			d.Start()
			d.PollNow()
			d.Stop()
			sound := d.ReadFile("boot/config.json")
			if err := spoil(d.Path("boot/config.json")); err != nil {
				t.Fatal(err)
			}
			d.Start()
			d.PollNow()
			if got := d.ReadFile("boot/config.json"); got != sound {
				t.Errorf("config.json was\n%s\nand is\n%s", sound, got)
			}
			if n := len(d.Cloud().Calls(fakecloud.Register)); n > 0 {
				t.Errorf("the device registered %d times", n)
			}
			_, err := os.Lstat(d.Path("boot/config.json.broken-1"))
			if name != "gone" && err != nil {
				t.Errorf("the broken file: %v", err)
			}
			if got := d.Overview(); !strings.Contains(got, "config.json: identity") {
				t.Errorf("status: %s", got)
			}
			if n := len(d.LogLines("config.json had lost or changed the identity of the device")); n != 1 {
				t.Errorf("said %d times in the log", n)
			}
			d.Restart()
			if got := d.Overview(); strings.Contains(got, "config.json: identity") {
				t.Errorf("status of a start with a sound file: %s", got)
			}
			for _, path := range d.Documents() {
				if info, err := os.Stat(d.Path(path)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v: %v", path, info.Mode(), err)
				}
			}
		})
	}
}

// docs/spec/host.md 3.2: where an edit lost the device's key, balenaOS makes another one before the supervisor starts,
// which the cloud refuses: the device returns to its own.
func TestKeyThatTheHostReplaced(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true})
	d.Start()
	d.PollNow()
	d.Stop()
	sound := d.ReadFile("boot/config.json")
	var config struct{ DeviceAPIKey string }
	if err := json.Unmarshal([]byte(sound), &config); err != nil || config.DeviceAPIKey == "" {
		t.Fatalf("config.json: %v %s", err, sound)
	}
	d.WriteFile("boot/config.json", strings.Replace(sound, config.DeviceAPIKey, strings.Repeat("ab", 16), 1))
	d.Start()
	if got := d.Overview(); !strings.Contains(got, "config.json: identity") {
		t.Errorf("status: %s", got)
	}
	d.PollNow()
	harness.Until(t, harness.Soon, "the device's own key", func() error {
		if got := d.ReadFile("boot/config.json"); !strings.Contains(got, config.DeviceAPIKey) {
			return errors.New(got)
		}
		return nil
	})
	if n := len(d.Cloud().Calls(fakecloud.Register)); n > 0 {
		t.Errorf("the device registered %d times", n)
	}
}

// docs/spec/host.md 9: 3: on balenaOS no identity is made where there is no config.json; elsewhere it is.
func TestHostWithoutConfig(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{WithoutContainers: true})
	config := s.Path("boot/config.json")
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	s.Launch()
	select {
	case <-s.Process().Done():
	case <-time.After(harness.Soon):
		t.Fatalf("on balenaOS the supervisor made itself a device: %s", s.ReadFile("boot/config.json"))
	}
	if _, err := os.Lstat(config); s.Process().ExitCode() != 1 || !strings.Contains(s.Log(), config) || !os.IsNotExist(err) {
		t.Errorf("on balenaOS: code %d, %q, config.json: %v", s.Process().ExitCode(), s.Log(), err)
	}
	s.WriteFile("root/etc/os-release", "ID=debian\nNAME=\"Debian GNU/Linux\"\n")
	s.Start()
	made := s.ReadFile("boot/config.json")
	if !strings.Contains(made, `"uuid"`) {
		t.Errorf("elsewhere: %q", made)
	}
	// What an older unit did with a lost file.
	s.Stop()
	s.WriteFile("boot/config.json", "{}\n")
	s.Start()
	if got := s.ReadFile("boot/config.json"); got != made {
		t.Errorf("%q became %q", made, got)
	}
}
