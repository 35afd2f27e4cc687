package hostos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// docs/spec/host.md 1.2, 1.3: a partition is taken as it is named where it is there with something in it,
// else below the root of the host.
func TestWhereThePartitionsAre(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{
		"mounted/boot/config.json", "host/etc/os-release",
		filepath.Join("host", dir, "boot/config.json"), filepath.Join("host", dir, "mounted/boot/config.json"),
		filepath.Join("host", dir, "empty/config.json"), filepath.Join("host", dir, "own/boot/config.json"),
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
	if err := os.WriteFile(filepath.Join(dir, "balena"), []byte("ID=balena-os\n"), 0o644); err != nil {
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
		"not named, and nowhere": {map[string]string{"BOOT_MOUNTPOINT": "", "CONFIG_MOUNT_POINT": "null"},
			dir + "/own/boot", dir + "/own/boot/config.json"},
		"nowhere on balenaOS": {map[string]string{"HOST_OS_VERSION_PATH": dir + "/balena"}, "/mnt/boot", "/mnt/boot/config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			test.env["ROOT_MOUNTPOINT"], test.env["SUPERVISOR_STATE_DIR"] = host, dir+"/own"
			if _, err := os.Stat("/mnt/boot"); err == nil && test.env["BOOT_MOUNTPOINT"] == "" {
				t.Skip("this machine has a /mnt/boot")
			}
			e := ReadEnvironment(func(name string) string { return test.env[name] })
			if e.Boot != test.boot || e.ConfigPath != test.config {
				t.Errorf("boot partition %q, config.json %q; want %q, %q", e.Boot, e.ConfigPath, test.boot, test.config)
			}
			if want := host + "/etc/os-release"; e.OSRelease != want && test.env["HOST_OS_VERSION_PATH"] == "" {
				t.Errorf("os-release %q, want %q", e.OSRelease, want)
			}
		})
	}
}

// inNamespace marks the second run of the test binary, which may mount without being seen.
const inNamespace = "HOSTOS_TEST_IN_NAMESPACE"

// docs/spec/host.md 1.3: what is mounted for the supervisor is meant, also while nothing is in it.
func TestEmptyMountIsAPartition(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEmptyMountIsAPartition$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if uid := os.Getuid(); uid != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestEmptyMountIsAPartition") {
			t.Fatalf("in the namespace: %v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	host, data := filepath.Join(dir, "host"), filepath.Join(dir, "data disk")
	for _, d := range []string{data, filepath.Join(host, data)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	where := func() string {
		env := map[string]string{"ROOT_MOUNTPOINT": host, "DATA_MOUNTPOINT": data}
		return ReadEnvironment(func(name string) string { return env[name] }).Data
	}
	if got := where(); got != filepath.Join(host, data) {
		t.Errorf("an empty folder: %q", got)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(data, 0)
	if got := where(); got != data {
		t.Errorf("an empty mount: %q", got)
	}
}
