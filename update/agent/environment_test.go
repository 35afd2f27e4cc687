package agent

import (
	"os"
	"path/filepath"
	"testing"
)

// docs/spec/host.md 1.2, 1.3: a partition is taken as it is named where it is there with something in it,
// else below the root of the host.
func TestWhereThePartitionsAre(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{
		"mounted/boot/config.json", "host/etc/os-release",
		filepath.Join("host", dir, "boot/config.json"), filepath.Join("host", dir, "mounted/boot/config.json"),
		filepath.Join("host", dir, "empty/config.json"),
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	host := filepath.Join(dir, "host")
	for name, test := range map[string]struct {
		env          map[string]string
		boot, config string
	}{
		"a path of the host": {map[string]string{"BOOT_MOUNTPOINT": dir + "/boot"},
			host + dir + "/boot", host + dir + "/boot/config.json"},
		"an empty folder in its place": {map[string]string{"BOOT_MOUNTPOINT": dir + "/empty"},
			host + dir + "/empty", host + dir + "/empty/config.json"},
		"a mount of its own": {map[string]string{"BOOT_MOUNTPOINT": dir + "/mounted/boot"},
			dir + "/mounted/boot", dir + "/mounted/boot/config.json"},
		"neither": {map[string]string{"BOOT_MOUNTPOINT": dir + "/nowhere"},
			dir + "/nowhere", dir + "/nowhere/config.json"},
		"a file of its own": {map[string]string{"BOOT_MOUNTPOINT": dir + "/mounted/boot", "CONFIG_MOUNT_POINT": dir + "/boot/config.json"},
			dir + "/mounted/boot", host + dir + "/boot/config.json"},
		"empty": {map[string]string{"BOOT_MOUNTPOINT": "", "CONFIG_MOUNT_POINT": "null"}, "/mnt/boot", "/mnt/boot/config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			test.env["ROOT_MOUNTPOINT"] = host
			e := ReadEnvironment(func(name string) string { return test.env[name] })
			if e.boot != test.boot || e.config != test.config {
				t.Errorf("boot partition %q, config.json %q; want %q, %q", e.boot, e.config, test.boot, test.config)
			}
			if want := host + "/etc/os-release"; e.osRelease != want {
				t.Errorf("os-release %q, want %q", e.osRelease, want)
			}
		})
	}
}
