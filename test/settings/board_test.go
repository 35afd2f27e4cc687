package settings_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// put writes a file below the root of the host, and the folders on the way.
func (d *device) put(path, text string) {
	d.t.Helper()
	path = "root/" + path
	if err := os.MkdirAll(filepath.Dir(d.Path(path)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	d.WriteFile(path, text)
}

// has waits until a file below the root of the host has a content.
func (d *device) has(path, want string) {
	d.t.Helper()
	harness.Until(d.t, harness.Soon, path, func() error {
		if got := d.ReadFile("root/" + path); got != want {
			return fmt.Errorf("%d bytes, want %d: %.80q", len(got), len(want), got)
		}
		return nil
	})
}

// tells waits until the device has told its cloud of a boot variable that it came with.
func (d *device) tells(name, want string) {
	d.t.Helper()
	harness.Until(d.t, harness.Soon, "the cloud to be told", func() error {
		if got := d.Cloud().Device(d.t, d.UUID).Config[name]; got != want {
			return fmt.Errorf("%s is %q", name, got)
		}
		return nil
	})
}

// modprobe gives the host a program of that name, a script.
func (d *device) modprobe(script string) {
	d.t.Helper()
	shell, err := os.ReadFile("/usr/bin/busybox") // needs no libraries
	if err != nil {
		d.t.Fatal(err)
	}
	d.put("bin/sh", string(shell))
	d.put("usr/sbin/modprobe", "#!/bin/sh\n"+script+"\n")
	if err := errors.Join(os.Chmod(d.Path("root/bin/sh"), 0o755), os.Chmod(d.Path("root/usr/sbin/modprobe"), 0o755)); err != nil {
		d.t.Fatal(err)
	}
}

// table gives the host an ACPI table, and what its kernel has made for one already.
func (d *device) table(name, content string) {
	d.t.Helper()
	d.put("boot/acpi-tables/"+name+".aml", content)
	for _, attribute := range []string{"aml", "oem_id", "oem_table_id", "oem_revision"} {
		d.put(kernelTables+name+"/"+attribute, "")
	}
}

const kernelTables = "sys/kernel/config/acpi/table/"

// docs/spec/host.md 9: 15; 5.1. The tables of configfs.json are loaded at every start. A new target writes the file and
// reboots, and nothing is loaded or unloaded before that.
func TestTablesOfAnUPBoard(t *testing.T) {
	d, bus := booting(t, true, "up-board", vars{"configfs.json": `{"ssdt": ["old"], "other": {"a": 1}}`})
	d.modprobe("echo \"$@\" >>/modprobe.log")
	old, spi := strings.Repeat("old ", 9000), strings.Repeat("spi ", 9000)
	d.table("old", old)
	d.table("spidev1.0", spi)
	d.Start()
	d.has(kernelTables+"old/aml", old)
	d.has("modprobe.log", "acpi_configfs\n")
	d.holds("configfs.json", `{"other":{"a":1},"ssdt":["old"]}`)
	d.tells("RESIN_HOST_CONFIGFS_ssdt", `"old"`)

	d.set(vars{"RESIN_HOST_CONFIGFS_ssdt": `"spidev1.0", "none"`})
	d.holds("configfs.json", `{"other":{"a":1},"ssdt":["spidev1.0","none"]}`)
	d.WaitLogged(`Applied boot config: {"ssdt":"\"spidev1.0\", \"none\""}`, 1)
	d.WaitLogged(rebootPlanned, 1)
	if got := d.ReadFile("root/" + kernelTables + "spidev1.0/aml"); got != "" {
		t.Errorf("loaded before the reboot: %.80q", got)
	}
	d.WaitLogged("Missing AML for 'none'. Unable to load.", 0)
	d.reboots(bus, 1)
	d.has(kernelTables+"spidev1.0/aml", spi)
	d.WaitLogged("Missing AML for 'none'. Unable to load.", 1)
	d.WaitSettled(harness.Soon)

	d.set(vars{"RESIN_HOST_CONFIGFS_ssdt": "../../tmp/x", "RESIN_HOST_SPLASH_image": ""})
	harness.Until(t, harness.Soon, "the refusal", func() error {
		for _, text := range d.DeviceLog() {
			if strings.HasPrefix(text, "Error setting boot config: HOST_CONFIGFS_ssdt: ") {
				return nil
			}
		}
		return errors.New("not said")
	})
	d.holds("configfs.json", `{"other":{"a":1},"ssdt":["spidev1.0","none"]}`)
	d.set(nil) // what the device said when it was new
	d.holds("configfs.json", `{"other":{"a":1},"ssdt":["old"]}`)
	d.reboots(bus, 2)
	d.WaitSettled(harness.Soon)

	d.Stop()
	d.modprobe("echo no such module >&2; exit 1")
	d.Start()
	d.WaitLogged("Unable to initialise ConfigFS", 1)
	d.PollNow() // the device goes on
	for _, line := range d.LogLines("ACPI tables cannot be loaded, the device goes on without them") {
		if !strings.Contains(fmt.Sprint(line["error"]), "no such module") {
			t.Errorf("logged %v", line)
		}
	}
}

// eMMC gives the device the first boot partition of a TX2: a device of blocks with random bytes around those that
// the boot loader reads, and the guard of the kernel. It answers the name of the device and what is on it.
func (d *device) eMMC(bytes ...byte) (name string, image []byte) {
	d.t.Helper()
	image = make([]byte, 4<<20)
	var seed [32]byte
	random := rand.NewChaCha8(seed)
	random.Read(image)
	for i, at := range laneBytes {
		image[at] = bytes[i]
	}
	file := d.Path("mmcblk0boot0")
	if err := os.WriteFile(file, image, 0o644); err != nil {
		d.t.Fatal(err)
	}
	name = harness.RunTool(d.t, "losetup", "-f", "--show", file)
	d.t.Cleanup(func() {
		harness.TryTool("blockdev", "--setrw", name) // else it stays read-only for whoever gets it next
		harness.TryTool("losetup", "-d", name)
	})
	d.put("sys/block/mmcblk0boot0/force_ro", "1\n")
	d.Share(name, "root/dev/mmcblk0boot0")
	return name, image
}

// laneBytes are where the boot loader of a TX2 reads the mode of its lanes.
var laneBytes = [3]int{1659, 5243, 18043}

// blocks waits until a device has a mode at the three places, and all else is as it was.
func (d *device) blocks(name string, image []byte, mode byte) {
	d.t.Helper()
	for _, at := range laneBytes {
		image[at] = mode
	}
	d.keeps(name, image)
}

func (d *device) keeps(name string, image []byte) {
	d.t.Helper()
	harness.Until(d.t, harness.Soon, "the bytes of the boot partition", func() error {
		got, err := os.ReadFile(name)
		if err == nil && !bytes.Equal(got, image) {
			err = fmt.Errorf("%x %x %x, and others as they were: %v", got[1659], got[5243], got[18043], len(got) == len(image))
		}
		return err
	})
	d.has("sys/block/mmcblk0boot0/force_ro", "1\n")
}

// refuses waits until the device's log and status say why a boot variable is not applied.
func (d *device) refuses(variable, why string) {
	d.t.Helper()
	harness.Until(d.t, harness.Soon, variable+" to be refused", func() error {
		for _, text := range d.DeviceLog() {
			if strings.HasPrefix(text, "Error setting boot config: "+variable+": ") && strings.Contains(text, why) {
				return nil
			}
		}
		return errors.New("not said")
	})
	d.WaitOverview(harness.Soon, variable, why)
	for _, line := range d.LogLines("boot variable refused, it stays as it is") {
		if line["variable"] == variable && strings.Contains(fmt.Sprint(line["error"]), why) {
			return
		}
	}
	d.t.Errorf("%s is not in the log", variable)
}

// docs/spec/host.md 9: 15; 5.2. Three bytes of a device of blocks are written, and nothing where there is a doubt.
func TestLanesOfATX2(t *testing.T) {
	const name = "RESIN_HOST_ODMDATA_configuration"
	d, bus := booting(t, true, "jetson-tx2", nil)
	disk, image := d.eMMC(1, 1, 1)
	d.Start()
	d.tells(name, "2")
	d.set(vars{name: "4"})
	d.WaitLogged(`Applied boot config: {"configuration":"4"}`, 1)
	d.blocks(disk, image, 7)
	d.WaitLogged(rebootPlanned, 1)
	d.reboots(bus, 1)
	d.WaitSettled(harness.Soon)
	d.set(vars{name: "7"})
	d.refuses(name[len("RESIN_"):], "the modes are 1 to 6")
	d.keeps(disk, image)

	// The kernel does not let it be written: the guard is put back.
	harness.RunTool(t, "blockdev", "--setro", disk)
	d.set(vars{name: "5"})
	harness.Until(t, harness.Soon, "the failure to be told of", func() error {
		for _, text := range d.DeviceLog() {
			if strings.HasPrefix(text, "Error setting boot config: ") && strings.Contains(text, "mmcblk0boot0") {
				return nil
			}
		}
		return errors.New("not told")
	})
	d.keeps(disk, image)
	harness.TryTool("blockdev", "--setrw", disk)
	d.blocks(disk, image, 2)
	d.reboots(bus, 2)
	d.WaitSettled(harness.Soon)

	// The power was cut between two of the bytes: no mode is told, and none is written.
	d.Stop()
	image[5243] = 3
	if err := os.WriteFile(disk, image, 0); err != nil {
		t.Fatal(err)
	}
	d.Start()
	d.refuses(name[len("RESIN_"):], "do not name one mode")
	d.keeps(disk, image)
	if got, told := d.shown()[name[len("RESIN_"):]]; told && got != "5" {
		t.Errorf("shown as %q", got)
	}
	if bus.Asked("Reboot") != 2 {
		t.Errorf("asked for %d reboots", bus.Asked("Reboot"))
	}
}

// docs/spec/host.md 9: 12. On a board that is not known, and on a Raspberry Pi whose boot partition is not known, boot
// variables are said not to be acted upon; what can be found is acted upon.
func TestBootVariablesOfAnUnknownBoard(t *testing.T) {
	const unknownBoard = "not applied, because the board or its boot partition is unknown"
	d, bus := booting(t, true, "x", nil)
	if err := os.Remove(d.Path("boot/device-type.json")); err != nil {
		t.Fatal(err)
	}
	d.Start()
	d.set(nil)
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "64", "RESIN_SUPERVISOR_DELTA": "1"})
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_DELTA":"1"}`, 1)
	d.refuses("HOST_CONFIG_gpu_mem", unknownBoard)
	d.set(nil)
	harness.Until(t, harness.Soon, "the refusal to be over", func() error {
		if page := d.Overview(); strings.Contains(page, "gpu_mem") {
			return errors.New(page)
		}
		return nil
	})

	d.Stop()
	d.put("proc/device-tree/compatible", "raspberrypi,4-model-b\x00brcm,bcm2711\x00")
	d.Start()
	d.set(vars{"RESIN_HOST_CONFIG_gpu_mem": "32"})
	d.refuses("HOST_CONFIG_gpu_mem", unknownBoard)
	if got := d.ReadFile("boot/config.txt"); got != "" || bus.Asked("Reboot") != 0 {
		t.Errorf("config.txt has %q, %d reboots", got, bus.Asked("Reboot"))
	}

	d.Stop()
	d.WriteFile("boot/config.txt", "gpu_mem=16\nstart_x=1\n")
	d.Start()
	d.holds("config.txt", "gpu_mem=32\nstart_x=1\n")
	d.tells("RESIN_HOST_CONFIG_start_x", "1") // of which nobody could know before
	d.reboots(bus, 1)
	d.PollNow()
	d.WaitSettled(harness.Soon)
	d.holds("config.txt", "gpu_mem=32\nstart_x=1\n")

	// The file is another system's: what no target names stays.
	d.set(nil)
	d.WaitSettled(harness.Soon)
	d.set(vars{"RESIN_HOST_CONFIG_arm_64bit": "1"})
	d.holds("config.txt", "gpu_mem=32\nstart_x=1\narm_64bit=1\n")
	d.reboots(bus, 2)
}
