package settings_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// makers is a config.txt as a board may come with one.
const makers = "# by the maker\ngpu_mem=16\nkernel=k.img\n[pi4]\narm_boost=1\n[all]\nenable_uart=1\n"

// booting is a device of a type with files on its boot partition, and a host that reboots it when asked.
func booting(t *testing.T, withoutContainers bool, slug string, files vars) (*device, *harness.Bus) {
	t.Helper()
	d, bus := onBus(t, withoutContainers)
	bus.SetUnit(t, "openvpn.service", "active")
	d.WriteJSON("boot/device-type.json", vars{"slug": slug, "arch": "armv7hf"})
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(d.Path("boot", name)), 0o755); err != nil {
			t.Fatal(err)
		}
		d.WriteFile("boot/"+name, text)
	}
	return d, bus
}

// holds waits until a file of the boot partition has a content.
func (d *device) holds(name, want string) {
	d.t.Helper()
	harness.Until(d.t, harness.Soon, name, func() error {
		if got := d.ReadFile("boot/" + name); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

// reboots waits until the host was asked n times in all to reboot the device, which it then does.
func (d *device) reboots(bus *harness.Bus, n int) {
	d.t.Helper()
	bus.WaitAsked(d.t, "Reboot", n)
	d.Kill()
	d.RunBy(harness.Rebooted(d.t))
	d.Start()
}

const rebootPlanned = "Reboot has been scheduled to apply changes: {}"

// cloud.md 85, 86: variables of both prefixes change config.txt, all else of which stays; the device
// reboots once, after its apps are settled and while nobody holds a lock. cloud.md 21: what the file said
// before the cloud did is told to the cloud and stays.
func TestBootConfigurationReboots(t *testing.T) {
	d, bus := booting(t, false, "raspberrypi3", vars{"config.txt": makers})
	d.Start()
	app := shop(t)
	d.set(nil, app)
	d.WaitSettled(harness.Soon)
	posted := d.Cloud().Device(t, d.UUID).Config
	if want := (vars{"RESIN_HOST_CONFIG_gpu_mem": "16", "RESIN_HOST_CONFIG_kernel": "k.img", "RESIN_HOST_CONFIG_enable_uart": "1"}); !maps.Equal(vars(posted), want) {
		t.Errorf("the cloud was told %v, want %v", posted, want)
	}
	if d.ReadFile("boot/config.txt") != makers || bus.Asked("Reboot") != 0 {
		t.Fatalf("the first target changed config.txt: %s", d.ReadFile("boot/config.txt"))
	}

	d.LockUpdates(31, "web")
	more := app // whose start nobody holds up
	more.ID, more.UUID, more.Name, more.Release = 32, "5aa0c0ffee5aa0c0ffee5aa0c0ffee52", "more", 2
	more.Services = []harness.Service{{ID: 2, Name: "main", ImageID: 12, Image: app.Services[0].Image}}
	d.set(vars{"BALENA_HOST_CONFIG_gpu_mem": "64", "RESIN_HOST_CONFIG_gpu_mem": "32", "RESIN_HOST_CONFIG_dtparam": `"spi=on", "i2c_arm=on"`}, app, more)
	const changed = "# by the maker\ngpu_mem=64\nkernel=k.img\n[pi4]\narm_boost=1\n[all]\nenable_uart=1\ndtoverlay=\ndtparam=spi=on\ndtparam=i2c_arm=on\n"
	d.holds("config.txt", changed)
	harness.Until(t, harness.Soon, "the lock to hold up the reboot", func() error {
		for _, line := range d.LogLines("step did not succeed") {
			if line["error"] == "Lockfile exists for { appId: 31, service: web }" && line["step"] == "reboot" {
				return nil
			}
		}
		return errors.New("it was not held up")
	})
	if err := d.Matches(); err != nil || bus.Asked("Reboot") != 0 {
		t.Errorf("a reboot was to come before the apps were settled, or was asked for: %v", err)
	}
	d.UnlockUpdates(31, "web")
	const said = ` boot config: {"dtparam":"\"spi=on\", \"i2c_arm=on\"","enable_uart":"1","gpu_mem":"64","kernel":"k.img"}`
	d.WaitLogged("Applying"+said, 1)
	d.WaitLogged("Applied"+said, 1)
	d.WaitLogged(rebootPlanned, 1)
	before, err := os.Stat(d.Path("boot/config.txt"))
	if err != nil {
		t.Fatal(err)
	}
	d.reboots(bus, 1)
	d.PollNow()
	d.WaitSettled(harness.Soon)
	// The same in other words is nothing to do.
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64 ", "BALENA_HOST_CONFIG_dtparam": "i2c_arm=on,spi=on"}, app, more)
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64", "BALENA_HOST_CONFIG_dtparam": `"spi=off","i2c_arm=on","spi=on"`, "RESIN_HOST_EXTLINUX_fdt": "x"}, app, more)
	d.WaitSettled(harness.Soon)
	if after, err := os.Stat(d.Path("boot/config.txt")); err != nil || !os.SameFile(before, after) || bus.Asked("Reboot") != 1 || d.CountLogged(rebootPlanned) != 1 {
		t.Errorf("after the reboot: %v, %d reboots, %d times planned", err, bus.Asked("Reboot"), d.CountLogged(rebootPlanned))
	}

	d.set(nil, app, more)
	d.holds("config.txt", makers)
	d.WaitLogged(rebootPlanned, 2)
	d.reboots(bus, 2)
	d.WaitSettled(harness.Soon)
	d.PollNow()
	d.WaitLogged(rebootPlanned, 2)
}

// cloud.md 85, host.md 9, 14: a key that may not be changed, and a value that the file cannot hold, are
// refused and said once; the others are written and have their reboot, and apps do not wait for better ones.
func TestRefusedBootConfiguration(t *testing.T) {
	d, bus := booting(t, false, "raspberrypi3", vars{"config.txt": makers})
	d.Start()
	app := shop(t)
	d.set(nil)
	fixed := "Attempt to change blacklisted config value kernel"
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64", "RESIN_HOST_CONFIG_kernel": "other.img", "RESIN_HOST_CONFIG_enable_uart": "1"}, app)
	changed := strings.Replace(makers, "=16", "=64", 1)
	d.holds("config.txt", changed)
	d.WaitLogged(fixed, 1)
	d.WaitLogged(rebootPlanned, 1)
	d.reboots(bus, 1)
	refused := func(told int, variables ...string) {
		t.Helper()
		harness.Until(t, harness.Soon, "the app beside a failure", func() error { return errors.Join(d.UpdateFailed(), d.Matches()) })
		for _, name := range variables {
			d.WaitOverview(harness.Soon, "variable "+name)
		}
		d.holds("config.txt", changed)
		if n := len(d.LogLines("boot variable refused, it stays as it is")); n != told {
			t.Errorf("%d refusals in the log, want %d", n, told)
		}
		if n := len(d.LogLines("boot configuration stays as it is")); n != 0 {
			t.Errorf("tried again %d times", n)
		}
	}
	refused(2, "HOST_CONFIG_kernel")
	d.WaitLogged(fixed, 2) // after each start
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64\nkernel=other.img", "RESIN_HOST_CONFIG_kernel": "other.img", "RESIN_HOST_CONFIG_enable_uart": "1", "RESIN_SUPERVISOR_DELTA": "1"}, app)
	d.WaitLogged("Error setting boot config: HOST_CONFIG_gpu_mem: the file cannot hold this value. It stays as it is, the other variables are set", 1)
	d.PollNow()
	refused(3, "HOST_CONFIG_gpu_mem", "HOST_CONFIG_kernel")
	d.WaitLogged(fixed, 2)
	d.WaitLogged(rebootPlanned, 1)
	if bus.Asked("Reboot") != 1 {
		t.Error("the device reboots for what is refused")
	}
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "32", "RESIN_HOST_CONFIG_kernel": "k.img", "RESIN_HOST_CONFIG_enable_uart": "1"}, app)
	d.holds("config.txt", strings.Replace(makers, "=16", "=32", 1))
	d.reboots(bus, 2)
	d.WaitSettled(harness.Soon)
	if page := d.Overview(); strings.Contains(page, "refused") {
		t.Errorf("status still tells of a refusal: %s", page)
	}
}

// host.md 9, 14: on an Orin one refused value keeps neither the file of the kernel nor power and fan from
// being written, whose texts are the host's to know.
func TestOneRefusedVariable(t *testing.T) {
	own, mine := drawn(t, 3), drawn(t, 4)
	d, bus := booting(t, true, "jetson-agx-orin-devkit", vars{"extra_uEnv.txt": "boot=1\n", "splash/balena-logo.png": own})
	d.Start()
	d.set(nil)
	all := vars{"RESIN_HOST_CONFIG_power_mode": "custom", "RESIN_HOST_CONFIG_fan_profile": "", "RESIN_HOST_EXTLINUX_fdt": "a.dtb",
		"RESIN_HOST_EXTLINUX_isolcpus": "1 2", "RESIN_HOST_SPLASH_image": "R0lGODlh"}
	d.set(all)
	d.holds("extra_uEnv.txt", "boot=1\ncustom_fdt_file=a.dtb\n")
	d.WaitLogged("Error setting boot config: HOST_EXTLINUX_isolcpus: the file cannot hold this value. It stays as it is, the other variables are set", 1)
	d.WaitLogged("Error setting boot config: HOST_SPLASH_image: not a PNG image in base64. It stays as it is, the other variables are set", 1)
	d.WaitLogged(rebootPlanned, 1)
	d.reboots(bus, 1)
	if got := fmt.Sprint(d.ReadConfig()["os"]); got != "map[fan:map[profile:] power:map[mode:custom]]" {
		t.Errorf("config.json says %s", got)
	}
	d.PollNow()
	d.holds("splash/balena-logo.png", own)
	all["RESIN_HOST_SPLASH_image"] = base64.StdEncoding.EncodeToString([]byte(mine))
	d.set(all)
	d.holds("splash/balena-logo.png", mine)
	d.WaitLogged(rebootPlanned, 2)
	d.reboots(bus, 2)
	d.PollNow()
	d.WaitLogged(rebootPlanned, 2)
	if bus.Asked("Reboot") != 2 {
		t.Errorf("%d reboots", bus.Asked("Reboot"))
	}
}

// host.md 5: the overlay that a board of a kind always has is nobody's to remove, and its place is no
// difference.
func TestBootConfigurationOfFin(t *testing.T) {
	const file = "dtoverlay=test\ndtoverlay=balena-fin\n"
	d, bus := booting(t, true, "fincm3", vars{"config.txt": file})
	d.Start()
	d.set(nil)
	harness.Until(t, harness.Soon, "the cloud to know the overlay", func() error {
		if posted := d.Cloud().Device(t, d.UUID).Config; posted["RESIN_HOST_CONFIG_dtoverlay"] != `"test"` {
			return fmt.Errorf("it was told %v", posted)
		}
		return nil
	})
	for _, want := range []string{"test", `"test","balena-fin"`, `"balena-fin","test"`} {
		d.set(vars{"RESIN_HOST_CONFIG_dtoverlay": want})
		d.PollNow()
		d.WaitLogged(rebootPlanned, 0)
		d.holds("config.txt", file)
	}
	d.set(vars{"RESIN_HOST_CONFIG_dtoverlay": "other"})
	d.holds("config.txt", "dtoverlay=other\ndtoverlay=balena-fin\n")
	d.WaitLogged(rebootPlanned, 1)
	d.reboots(bus, 1)
	d.PollNow()
	d.WaitLogged(rebootPlanned, 1)
}

// cloud.md 6.8; 6.2: extra_uEnv.txt of a board that has one, and the power and fan of an Orin, of which
// the fan needs no reboot.
func TestBootConfigurationOfOrin(t *testing.T) {
	d, bus := booting(t, true, "jetson-agx-orin-devkit", vars{"extra_uEnv.txt": "boot=1\nextra_os_cmdline=quiet\n"})
	d.Start()
	d.set(nil)
	all := vars{"RESIN_HOST_EXTLINUX_fdt": "a.dtb", "RESIN_HOST_EXTLINUX_isolcpus": "1,2", "RESIN_HOST_CONFIG_power_mode": "low", "RESIN_HOST_CONFIG_gpu_mem": "64"}
	d.set(all)
	d.holds("extra_uEnv.txt", "boot=1\nextra_os_cmdline=quiet isolcpus=1,2\ncustom_fdt_file=a.dtb\n")
	d.WaitLogged(`Applied boot config: {"fdt":"a.dtb","isolcpus":"1,2","power_mode":"low"}`, 1)
	d.WaitLogged(rebootPlanned, 1)
	d.reboots(bus, 1)
	all["RESIN_HOST_CONFIG_fan_profile"] = "cool"
	d.set(all)
	d.WaitLogged(`Applied boot config: {"fan_profile":"cool","power_mode":"low"}`, 1)
	if got := fmt.Sprint(d.ReadConfig()["os"]); got != "map[fan:map[profile:cool] power:map[mode:low]]" {
		t.Errorf("config.json says %s", got)
	}
	all["RESIN_HOST_EXTLINUX_root"] = "/dev/sda"
	d.set(all)
	d.WaitLogged("Attempt to change blacklisted config value root", 1)
	d.WaitLogged(rebootPlanned, 1)
	if d.ReadFile("boot/config.txt") != "" || bus.Asked("Reboot") != 1 {
		t.Errorf("config.txt on this board: %q, %d reboots", d.ReadFile("boot/config.txt"), bus.Asked("Reboot"))
	}
}

// cloud.md 6.2: extlinux.conf of an older system on a Jetson; a newer one does not read it.
func TestBootConfigurationOfOlderJetson(t *testing.T) {
	const old = "DEFAULT primary\nLABEL primary\n  LINUX /Image\n  APPEND ${cbootargs}\n"
	d, bus := booting(t, true, "jetson-xavier", vars{"extlinux/extlinux.conf": old})
	const release = "ID=\"balena-os\"\nVERSION=\"2.46.1+rev2\"\nMETA_BALENA_VERSION=\"2.46.1\"\n"
	d.WriteFile("root/etc/os-release", release)
	d.Start()
	set := vars{"RESIN_HOST_EXTLINUX_fdt": "/boot/a.dtb", "RESIN_HOST_EXTLINUX_isolcpus": "3"}
	d.set(set)
	d.holds("extlinux/extlinux.conf", "DEFAULT primary\nLABEL primary\n  FDT /boot/a.dtb\n  LINUX /Image\n  APPEND ${cbootargs} isolcpus=3\n")
	d.reboots(bus, 1)
	d.set(nil)
	d.holds("extlinux/extlinux.conf", old)
	d.reboots(bus, 2)
	d.Stop()
	d.WriteFile("root/etc/os-release", strings.ReplaceAll(release, "2.46.1", "2.47.0"))
	d.Start()
	d.set(set)
	d.PollNow()
	if got := d.ReadFile("boot/extlinux/extlinux.conf"); got != old || bus.Asked("Reboot") != 2 {
		t.Errorf("a file that is not read any more became %q, %d reboots", got, bus.Asked("Reboot"))
	}
}

func drawn(t *testing.T, width int) string {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, width, 1))); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// cloud.md 6.9: the splash image of any board, set and reset; what is no image changes nothing.
func TestSplashImage(t *testing.T) {
	own, mine := drawn(t, 3), drawn(t, 4)
	d, bus := booting(t, true, "beaglebone-black", vars{"splash/balena-logo.png": own, "config.txt": makers})
	d.Start()
	d.set(nil)
	d.set(vars{"BALENA_HOST_SPLASH_IMAGE": "data:image/png;charset=x;base64," + base64.StdEncoding.EncodeToString([]byte(mine)), "RESIN_HOST_CONFIG_gpu_mem": "64"})
	d.holds("splash/balena-logo.png", mine)
	d.holds("splash/balena-logo-default.png", own)
	d.WaitLogged(rebootPlanned, 1)
	d.reboots(bus, 1)
	d.set(vars{"RESIN_HOST_SPLASH_image": "R0lGODlh"})
	d.PollNow()
	d.holds("splash/balena-logo.png", mine)
	d.set(vars{"RESIN_HOST_SPLASH_image": ""})
	d.holds("splash/balena-logo.png", own)
	d.WaitLogged(rebootPlanned, 2)
	d.reboots(bus, 2)
	d.PollNow()
	d.WaitLogged(rebootPlanned, 2)
	if d.ReadFile("boot/config.txt") != makers {
		t.Error("config.txt of a board that has none was written")
	}
}

// cloud.md 86: wherever the agent is killed, a file that changed has its reboot.
func TestKilledWhileConfiguringBoot(t *testing.T) {
	d, bus := booting(t, true, "raspberrypi3", nil)
	d.Start()
	d.PollNow()
	breadcrumb := d.Path("root/tmp/balena-supervisor/reboot-after-apply")
	for i := range 6 {
		want, asked := fmt.Sprintf("gpu_mem=%d\n", i), bus.Asked("Reboot")
		_ = os.Remove(breadcrumb)
		d.configure(vars{"RESIN_HOST_CONFIG_gpu_mem": fmt.Sprint(i)})
		d.TryCall(harness.Request{Method: "POST", Path: "/v1/update"})
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		d.Kill()
		if _, err := os.Stat(breadcrumb); err != nil && d.ReadFile("boot/config.txt") == want {
			t.Fatalf("kill %d lost the reboot", i)
		}
		d.Start()
		d.PollNow()
		d.holds("config.txt", want)
		d.reboots(bus, max(asked+1, bus.Asked("Reboot")))
	}
}

// cloud.md 86: a boot partition that cannot be written holds up no apps and leads to no reboot; what could
// be written in part has its reboot. A host that undoes what is written is not rebooted for ever.
func TestBootConfigurationThatDoesNotLast(t *testing.T) {
	own := drawn(t, 3)
	d, bus := booting(t, false, "raspberrypi3", vars{"config.txt": makers, "splash/balena-logo.png": own})
	d.Start()
	app := shop(t)
	d.set(nil)
	splash := d.Path("boot/splash")
	if err := errors.Join(syscall.Mount(splash, splash, "", syscall.MS_BIND, ""), syscall.Mount("", splash, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(splash, syscall.MNT_DETACH) })
	shown := base64.StdEncoding.EncodeToString([]byte(drawn(t, 4)))
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64", "RESIN_HOST_SPLASH_image": shown})
	changed := strings.Replace(makers, "=16", "=64", 1)
	d.holds("config.txt", changed)
	d.reboots(bus, 1)
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64", "RESIN_HOST_SPLASH_image": shown}, app)
	apps := func() {
		t.Helper()
		d.WaitListed()
		harness.Until(t, harness.Soon, "the app beside a failure", func() error { return errors.Join(d.UpdateFailed(), d.Matches()) })
	}
	apps()
	harness.Until(t, harness.Soon, "another attempt", func() error {
		if n := len(d.LogLines("boot configuration stays as it is")); n < 4 {
			return fmt.Errorf("%d in all", n)
		}
		return nil
	})
	if bus.Asked("Reboot") != 1 {
		t.Errorf("asked for %d reboots", bus.Asked("Reboot"))
	}
	d.Kill()
	if err := syscall.Unmount(splash, 0); err != nil {
		t.Fatal(err)
	}
	d.RunBy(harness.Rebooted(t))
	d.Start()
	d.reboots(bus, 2)
	d.WaitSettled(harness.Soon)

	undone := func() {
		d.Kill()
		d.RunBy(harness.Rebooted(t))
		d.WriteFile("boot/config.txt", makers)
		d.Start()
	}
	for i := range 3 {
		undone()
		d.holds("config.txt", changed)
		bus.WaitAsked(t, "Reboot", 3+i)
	}
	undone()
	app.Services = nil
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64", "RESIN_HOST_SPLASH_image": shown}, app)
	apps()
	if d.ReadFile("boot/config.txt") != makers || bus.Asked("Reboot") != 5 {
		t.Errorf("%d reboots, %s", bus.Asked("Reboot"), d.ReadFile("boot/config.txt"))
	}
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "32", "RESIN_HOST_SPLASH_image": shown}, app)
	d.holds("config.txt", strings.Replace(makers, "=16", "=32", 1))
	d.reboots(bus, 6)
	d.WaitSettled(harness.Soon)
}

// cloud.md 6.5: a device that nobody configured yet stays as its files say; a preload says no more than
// it does.
func TestBootConfigurationBeforeACloud(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	s.WriteFile("boot/config.txt", makers)
	s.Start()
	s.WaitListed()
	show := func(want vars) {
		t.Helper()
		d := &device{s, t}
		got := make(vars)
		for name, text := range d.shown() {
			if strings.HasPrefix(name, "HOST_CONFIG_") {
				got[name] = text
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("shown: %v, want %v", got, want)
		}
	}
	show(vars{"HOST_CONFIG_gpu_mem": "16", "HOST_CONFIG_kernel": "k.img", "HOST_CONFIG_enable_uart": "1"})
	if got := s.ReadFile("boot/config.txt"); got != makers {
		t.Errorf("config.txt was written: %s", got)
	}
	s.Stop()
	s.WriteJSON("data/apps.json", map[string]any{"config": vars{"RESIN_HOST_CONFIG_gpu_mem": "32"}, "apps": map[string]any{}})
	s.Start()
	harness.Until(t, harness.Soon, "config.txt as the preload says", func() error {
		if got := s.ReadFile("boot/config.txt"); got != strings.Replace(makers, "=16", "=32", 1) {
			return errors.New(got)
		}
		return nil
	})
	show(vars{"HOST_CONFIG_gpu_mem": "32", "HOST_CONFIG_kernel": "k.img", "HOST_CONFIG_enable_uart": "1"})
}

// A device that ran an agent which knew nothing of boot configuration keeps what it has, and tells its
// cloud of it.
func TestBootConfigurationAfterAnEarlierAgent(t *testing.T) {
	d, bus := booting(t, true, "raspberrypi3", nil)
	d.Start()
	d.set(vars{"RESIN_HOST_CONFIG_start_x": "1"})
	d.holds("config.txt", "start_x=1\n")
	d.reboots(bus, 1)
	d.PollNow()
	d.Stop()
	for _, name := range []string{"target", "introduction"} {
		var doc struct {
			Version int            `json:"version"`
			Data    map[string]any `json:"data"`
		}
		path := "documents/" + name + ".json"
		if err := json.Unmarshal([]byte(d.ReadFile(path)), &doc); err != nil || doc.Data["boot"] != true {
			t.Fatalf("%s: %v", d.ReadFile(path), err)
		}
		delete(doc.Data, "boot")
		d.WriteJSON(path, doc)
	}
	d.WriteFile("boot/config.txt", "start_x=1\ngpu_mem=16\n")
	d.Start()
	harness.Until(t, harness.Soon, "the cloud to be told", func() error {
		if got := d.Cloud().Device(t, d.UUID).Config["RESIN_HOST_CONFIG_gpu_mem"]; got != "16" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	d.PollNow()
	d.PollNow()
	writes := d.CountSteps("write")
	if got := d.ReadFile("boot/config.txt"); got != "start_x=1\ngpu_mem=16\n" || writes != 1 {
		t.Errorf("config.txt is %q, and was written %d times", got, writes)
	}
}
