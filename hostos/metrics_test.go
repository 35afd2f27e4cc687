package hostos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine holds the files of a board's kernel below proc and sys.
type machine map[string]string

func (m machine) hardware(t *testing.T) *Hardware {
	t.Helper()
	root := t.TempDir()
	for name, text := range m {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newHardware(filepath.Join(root, "proc"), filepath.Join(root, "sys"))
}

// The files of several machines.
var (
	pi = machine{
		"proc/meminfo":                         "MemTotal:         948304 kB\nMemFree:          101376 kB\nMemAvailable:     591872 kB\nBuffers:           20480 kB\nCached:           409600 kB\nSwapCached:            0 kB\nSReclaimable:      30720 kB\n",
		"proc/stat":                            "cpu  100 0 50 800 40 5 5 0 0 0\ncpu0 25 0 12 200 10 2 1 0 0 0\nintr 1\n",
		"proc/device-tree/serial-number":       "00000000E1F2A3B4\x00",
		"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp": "48312\n",
		"proc/self/mountinfo": `22 1 179:2 / /mnt/root ro,relatime - ext4 /dev/mmcblk0p2 ro
23 1 0:20 / /proc rw - proc proc rw
30 22 179:1 / /mnt/boot rw,relatime - vfat /dev/mmcblk0p1 rw,fmask=0022
31 22 179:6 / /mnt/data rw,relatime shared:1 - ext4 /dev/mmcblk0p6 rw
32 22 179:6 /resin-data/supervisor /data rw,relatime - ext4 /dev/mmcblk0p6 rw
`,
	}
	beagleBone = machine{ // no sensor, no serial number in the device tree, a SoC that has one
		"proc/meminfo":                           "MemTotal: 493000 kB\nMemFree: 300000 kB\nBuffers: 4000 kB\nCached: 90000 kB\n",
		"proc/stat":                              "cpu  1 2 3 4\n",
		"sys/devices/soc0/serial_number":         "  BBBK1234abcd \n",
		"sys/class/dmi/id/board_serial":          "not-this\n",
		"proc/self/mountinfo":                    "22 1 179:2 / / rw - overlay overlay rw\n23 22 179:3 / /mnt/data\\040of\\134me rw - ext4 /dev/disk/by-label/resin\\040data rw\n",
		"sys/class/thermal/cooling_device0/type": "fan\n",
	}
	pc = machine{ // the first zone belongs to the board
		"proc/meminfo":                         "MemTotal: 16302080 kB\nMemFree: 1000000 kB\nBuffers: 500000 kB\nCached: 6000000 kB\nSReclaimable: 400000 kB\n",
		"proc/stat":                            "cpu  10 0 10 10 0 0 0 0 0 0\n",
		"sys/class/dmi/id/board_serial":        "/7WXYZ12/CN129\n",
		"sys/class/thermal/thermal_zone0/type": "acpitz\n",
		"sys/class/thermal/thermal_zone0/temp": "27800\n",
		"sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
		"sys/class/thermal/thermal_zone1/temp": "61500\n",
		"proc/self/mountinfo":                  "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 8:1 / /var rw - ext4 /dev/sda1 rw\n",
	}
	serverPC = machine{ // only a sensor chip
		"sys/class/thermal/thermal_zone0/type": "acpitz\n",
		"sys/class/thermal/thermal_zone0/temp": "27800\n",
		"sys/class/hwmon/hwmon0/name":          "nvme\n",
		"sys/class/hwmon/hwmon0/temp1_input":   "35000\n",
		"sys/class/hwmon/hwmon1/name":          "k10temp\n",
		"sys/class/hwmon/hwmon1/temp1_input":   "44499\n",
	}
	unnamedZone = machine{
		"sys/class/thermal/thermal_zone0/type": "acpitz\n",
		"sys/class/thermal/thermal_zone0/temp": "-4600\n",
	}
)

func TestSample(t *testing.T) {
	for name, c := range map[string]struct {
		machine
		want Metrics // without the values of statfs
	}{
		"Raspberry Pi": {pi, Metrics{CPUTemp: 48, MemoryUsage: 377, MemoryTotal: 926, StorageBlockDevice: "/dev/mmcblk0p6", CPUID: "00000000e1f2a3b4"}},
		"BeagleBone":   {beagleBone, Metrics{MemoryUsage: 96, MemoryTotal: 481, StorageBlockDevice: "/dev/disk/by-label/resin data", CPUID: "bbbk1234abcd"}},
		"PC":           {pc, Metrics{CPUTemp: 62, MemoryUsage: 8205, MemoryTotal: 15920, CPUID: "/7wxyz12/cn129"}},
		"sensor chip":  {serverPC, Metrics{CPUTemp: 44}},
		"other sensor": {unnamedZone, Metrics{CPUTemp: -5}},
		"nothing":      {machine{}, Metrics{}},
	} {
		got := c.hardware(t).Sample()
		got.StorageUsage, got.StorageTotal = 0, 0
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestLoadIsSinceTheSampleBefore(t *testing.T) {
	h := pi.hardware(t)
	stat := filepath.Join(h.proc, "stat")
	for i, c := range []struct {
		line string
		want int
	}{
		{"cpu  100 0 50 800 40 5 5 0 0 0\n", 0},     // no tick has passed since the start
		{"cpu  130 10 60 840 50 5 5 0 30 10\n", 50}, // 50 busy, 50 idle; guest time is not counted twice
		{"cpu  130 10 60 840 50 5 5 0 30 10\n", 50}, // no tick has passed
		{"cpu  130 10 60 940 150 5 5 0 30 10\n", 0}, // idle only
		{"cpu  230 10 60 940 150 5 5 0 130 10\n", 100},
		{"cpu  231 10 60 941 151 5 5 0 130 10\n", 33},
		{"cpu  231 10 60 941 100 5 5 0 130 10\n", 33}, // corrected downwards
		{"cpu  241 10 60 941 110 5 5 0 130 10\n", 50},
		{"nonsense\n", 50},
	} {
		if err := os.WriteFile(stat, []byte(c.line), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := h.Sample().CPUUsage; got != c.want {
			t.Errorf("sample %d: %d %%, want %d", i, got, c.want)
		}
	}
}

func TestStorage(t *testing.T) {
	size := func(point string) (used, total uint64) {
		sizes := map[string]uint64{"/": 1, "/mnt/data": 10, "/data": 10, "/mnt/data/part": 5, "/mnt/state": 100}
		return sizes[point]<<20 + 1023, 1000<<20 + 1023
	}
	mounts := []mount{{"/dev/sda2", "/"}, {"/dev/sda", "/mnt/data"}, {"/dev/sda", "/data"}, {"/dev/sda3", "/mnt/data/part"}, {"/dev/sdb", "/mnt/state"}}
	if device, used, total := storage(mounts, size); device != "/dev/sda" || used != 16 || total != 1000 {
		t.Errorf("got %s %d %d", device, used, total)
	}
	if device, used, total := storage(mounts[:1], size); device != "" || used != 0 || total != 0 {
		t.Errorf("without a data partition: %q %d %d", device, used, total)
	}
}

// The kernel of this machine has the values that every kernel has.
func TestSampleOfThisMachine(t *testing.T) {
	h := NewHardware()
	m := h.Sample()
	for range 10_000 { // this causes the load
		if m.CPUUsage > 0 {
			break
		}
		m = h.Sample()
	}
	if m.MemoryTotal < 32 || m.MemoryUsage < 1 || m.MemoryUsage >= m.MemoryTotal || m.CPUUsage < 1 || m.CPUUsage > 100 {
		t.Errorf("got %+v", m)
	}
	mounts := parseMounts(h.read(h.proc, "self/mountinfo"))
	if len(mounts) == 0 {
		t.Skip("nothing with a block device is mounted here")
	}
	if used, total := fsSize(mounts[0].point); total < 1<<20 || used > total {
		t.Errorf("%+v holds %d of %d bytes", mounts[0], used, total)
	}
	if m.CPUID != strings.ToLower(m.CPUID) {
		t.Errorf("serial number %q", m.CPUID)
	}
}
