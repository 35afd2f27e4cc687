package fault_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

// unfit makes things that are no files of a size that one can read.
var unfit = []struct {
	name string
	make func(t *testing.T, path string)
}{
	{"fifo", func(t *testing.T, path string) { harness.Must(t, syscall.Mkfifo(path, 0o666)) }},
	{"socket", func(t *testing.T, path string) {
		old, err := os.Getwd() // the address of a socket is short
		harness.Must(t, err)
		harness.Must(t, os.Chdir(filepath.Dir(path)))
		defer os.Chdir(old)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Base(path)})
		harness.Must(t, err)
		l.SetUnlinkOnClose(false)
		l.Close()
	}},
	{"directory", func(t *testing.T, path string) { harness.Must(t, os.Mkdir(path, 0o755)) }},
	{"huge", func(t *testing.T, path string) {
		harness.Must(t, os.WriteFile(path, nil, 0o644))
		harness.Must(t, os.Truncate(path, 4<<30))
	}},
	{"zeros without end", func(t *testing.T, path string) { harness.Must(t, os.Symlink("/dev/zero", path)) }},
}

// replace puts something else in place of a file of the device.
func replace(t *testing.T, s *harness.Supervisor, name string, make func(*testing.T, string)) {
	t.Helper()
	path := s.Path(name)
	harness.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	harness.Must(t, os.RemoveAll(path))
	make(t, path)
}

// docs/spec/cloud.md 7.5 (8): whatever is in place of a file, the device starts and
// answers, and takes no memory for it.
func TestFilesThatAreNoFiles(t *testing.T) {
	for _, kind := range unfit {
		t.Run(kind.name, func(t *testing.T) {
			s := harness.NewSupervisor(t, harness.Setup{WithoutContainers: true})
			documents := []string{"documents/keys.json", "documents/target.json", "documents/images.json", "documents/releases.json",
				"documents/logs.json", "documents/local-mode.json", "documents/identity.json"}
			for _, name := range append(documents, "data/apps.json", "data/backup.tgz", "boot/config.txt", "boot/device-type.json",
				"boot/splash/balena-logo.png", "boot/system-proxy/redsocks.conf", "boot/system-proxy/no_proxy", "root/etc/os-release",
				"root/tmp/balena-supervisor/reboot-after-apply", "root/tmp/balena-supervisor/target-state-config", "led") {
				replace(t, s, name, kind.make)
			}
			s.Start()
			s.WaitListed()
			for _, name := range documents {
				harness.Until(t, soon, name+" to be set aside", func() error {
					_, err := os.Lstat(s.Path(name + ".broken-1"))
					return err
				})
			}
			if lines := s.LogLines("preloaded apps were not taken over"); (len(lines) == 1) != (kind.name != "directory") {
				t.Errorf("said of apps.json: %v", lines)
			}
			proxied(t, s)
			replace(t, s, "root/etc/hostname", kind.make)
			if got := s.Get("/v1/device/host-config"); got.Status != 503 || !strings.Contains(string(got.Body), "hostname") {
				t.Errorf("with such a hostname the answer is %d %s", got.Status, got.Body)
			}
			notRead(t, s)
		})
	}
}

// proxied sets a proxy, which replaces what is in place of its files.
func proxied(t *testing.T, s *harness.Supervisor) {
	t.Helper()
	if got := s.Get("/v1/device/host-config"); got.Status != 200 || !strings.Contains(string(got.Body), `"proxy":{}`) {
		t.Errorf("what cannot be a proxy's file is shown as %d %s", got.Status, got.Body)
	}
	got := s.Call(harness.Request{Method: "PATCH", Path: "/v1/device/host-config", Body: map[string]any{"network": map[string]any{
		"proxy": map[string]any{"type": "socks5", "ip": "10.0.0.1", "port": 1080, "noProxy": []string{"10.1.1.1"}}}}})
	if got.Status != 200 || !strings.Contains(s.ReadFile("boot/system-proxy/redsocks.conf"), "10.0.0.1") || s.ReadFile("boot/system-proxy/no_proxy") != "10.1.1.1\n" {
		t.Errorf("a proxy in their place: %d %s", got.Status, got.Body)
	}
}

// notRead holds the most memory that the process ever had against what a file without end would have cost.
func notRead(t *testing.T, s *harness.Supervisor) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process().PID()))
	harness.Must(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil || kib > 300<<10 {
		t.Errorf("the process had %d KiB (%v)", kib, err)
	}
}

// docs/spec/cloud.md 7.5 (8): what is in place of config.json is named, and a change is refused. The next
// start sets it aside and gives the device its identity back; a device that had none does not start.
func TestConfigThatIsNoFile(t *testing.T) {
	for _, kind := range unfit {
		t.Run(kind.name, func(t *testing.T) {
			s := harness.NewSupervisor(t, harness.Setup{WithoutContainers: true})
			replace(t, s, "boot/config.json", kind.make)
			if code, _, said := s.Run(); code != 1 || !strings.Contains(said, "unusable file: "+s.Path("boot/config.json")) {
				t.Errorf("the first start ended with %d: %s", code, said)
			}
			harness.Must(t, os.RemoveAll(s.Path("boot/config.json")))
			s.WriteJSON("boot/config.json", map[string]any{"uuid": s.UUID})
			s.Start()
			s.WaitListed()
			replace(t, s, "boot/config.json", kind.make)
			before, err := os.Lstat(s.Path("boot/config.json"))
			harness.Must(t, err)
			got := s.Call(harness.Request{Method: "PATCH", Path: "/v1/device/host-config", Body: map[string]any{"network": map[string]any{"hostname": "other"}}})
			if got.Status != 503 || !strings.Contains(string(got.Body), "config.json") {
				t.Errorf("a change of the name: %d %s", got.Status, got.Body)
			}
			if after, err := os.Lstat(s.Path("boot/config.json")); err != nil || !os.SameFile(before, after) {
				t.Errorf("it was replaced (%v)", err)
			}
			notRead(t, s)
			s.Restart()
			after, err := os.Lstat(s.Path("boot/config.json.broken-1"))
			if err != nil || !os.SameFile(before, after) || !strings.Contains(s.ReadFile("boot/config.json"), s.UUID) {
				t.Errorf("after the next start config.json is %q (%v)", s.ReadFile("boot/config.json"), err)
			}
		})
	}
}
