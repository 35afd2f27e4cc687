package hostos

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// Metrics is a sample of the hardware (docs/spec/cloud.md 4.8). Values that cannot be read are 0 or empty.
type Metrics struct {
	CPUUsage           int    // percent of all cores since the last sample, 0 to 100
	CPUTemp            int    // degrees Celsius, 0 without a sensor
	MemoryUsage        int    // MiB that are neither free nor reclaimable cache
	MemoryTotal        int    // MiB
	StorageBlockDevice string // of the data partition, empty when there is none
	StorageUsage       int    // MiB, of all file systems on the device
	StorageTotal       int    // MiB, of the data partition; omit it without a device
	CPUID              string // serial number in lower case; omit it when empty
}

// Hardware takes samples of the hardware. It is safe for concurrent use.
type Hardware struct {
	proc, sys string
	mu        sync.Mutex
	last      cpuTime
	usage     int
}

// NewHardware starts measuring the load.
func NewHardware() *Hardware { return newHardware("/proc", "/sys") }

func newHardware(proc, sys string) *Hardware {
	h := &Hardware{proc: proc, sys: sys}
	h.last = parseCPUTime(h.read(proc, "stat"))
	return h
}

// Sample takes a new sample.
func (h *Hardware) Sample() Metrics {
	m := Metrics{CPUUsage: h.load(), CPUTemp: h.temperature(), CPUID: h.serial()}
	m.MemoryUsage, m.MemoryTotal = parseMemory(h.read(h.proc, "meminfo"))
	m.StorageBlockDevice, m.StorageUsage, m.StorageTotal = storage(parseMounts(h.read(h.proc, "self/mountinfo")), fsSize)
	return m
}

// read returns the content of a file, empty if it cannot be read.
func (h *Hardware) read(dir, name string) string {
	data, _ := file.Read(filepath.Join(dir, name), file.Large) // many files exist only on some boards
	return string(data)
}

// cpuTime is the time that all cores were busy and idle since the boot, in ticks.
type cpuTime struct{ busy, idle uint64 }

// load returns the mean load of all cores since the last call, or the last result if no tick has passed.
func (h *Hardware) load() int {
	now := parseCPUTime(h.read(h.proc, "stat"))
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.busy < h.last.busy || now.idle < h.last.idle { // the kernel may correct the idle time downwards
		h.last = now
		return h.usage
	}
	busy, idle := now.busy-h.last.busy, now.idle-h.last.idle
	if busy+idle == 0 {
		return h.usage
	}
	h.last = now
	h.usage = int(math.Round(100 * float64(busy) / float64(busy+idle)))
	return h.usage
}

// parseCPUTime parses the sum of all cores in /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. It
// ignores guest time, which is a part of user time.
func parseCPUTime(text string) (t cpuTime) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return cpuTime{}
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		ticks, _ := strconv.ParseUint(field, 10, 64)
		if i == 3 || i == 4 {
			t.idle += ticks
		} else {
			t.busy += ticks
		}
	}
	return t
}

// parseMemory parses /proc/meminfo and returns MiB.
func parseMemory(text string) (used, total int) {
	kib := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		kib[name], _ = strconv.Atoi(number)
	}
	used = kib["MemTotal"] - kib["MemFree"] - kib["Cached"] - kib["Buffers"] - kib["SReclaimable"]
	return max(used, 0) >> 10, kib["MemTotal"] >> 10
}

// serial returns the serial number of the board.
func (h *Hardware) serial() string {
	for _, file := range [...]string{
		h.proc + "/device-tree/serial-number", h.proc + "/device-tree/product-sn",
		h.sys + "/devices/soc0/serial_number", h.sys + "/class/dmi/id/board_serial",
	} {
		if number := strings.TrimSpace(strings.ReplaceAll(h.read("", file), "\x00", "")); number != "" {
			return strings.ToLower(number)
		}
	}
	return ""
}

// mount is one mounted file system.
type mount struct{ device, point string }

// parseMounts parses /proc/self/mountinfo. It omits file systems without a block device.
func parseMounts(text string) (mounts []mount) {
	for line := range strings.Lines(text) {
		front, back, _ := strings.Cut(line, " - ")
		place, source := strings.Fields(front), strings.Fields(back)
		if len(place) > 4 && len(source) > 1 && strings.HasPrefix(source[1], "/") {
			mounts = append(mounts, mount{unescapeOctal(source[1]), unescapeOctal(place[4])})
		}
	}
	return mounts
}

// IsMountPoint reports whether something is mounted at a directory.
func IsMountPoint(dir string) bool {
	text, _ := file.Read("/proc/self/mountinfo", file.Large)
	for line := range strings.Lines(string(text)) {
		if place := strings.Fields(line); len(place) > 4 && unescapeOctal(place[4]) == dir {
			return true
		}
	}
	return false
}

// unescapeOctal replaces the kernel's escapes for blanks and backslashes, such as \040.
func unescapeOctal(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// storage finds the data partition, and returns the use of its device and its total size in MiB. size returns the
// used and total bytes of the file system at a mount point.
func storage(mounts []mount, size func(point string) (used, total uint64)) (device string, usedMiB, totalMiB int) {
	for _, m := range mounts {
		if strings.Contains(m.point, "/data") {
			_, total := size(m.point)
			device, totalMiB = m.device, int(total>>20)
			break
		}
	}
	if device == "" {
		return "", 0, 0
	}
	var sum uint64
	seen := map[string]bool{}
	for _, m := range mounts {
		if strings.HasPrefix(m.device, device) && !seen[m.device] {
			seen[m.device] = true
			used, _ := size(m.point)
			sum += used
		}
	}
	return device, int(sum >> 20), totalMiB
}

// fsSize returns the used and total bytes of a file system, 0 after an error.
func fsSize(point string) (used, total uint64) {
	var fs unix.Statfs_t
	if unix.Statfs(point, &fs) != nil {
		return 0, 0
	}
	unit := uint64(fs.Frsize)
	return (fs.Blocks - fs.Bfree) * unit, fs.Blocks * unit
}

// Free returns how many bytes may still be written to the file system of a directory.
func Free(directory string) (int64, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(directory, &fs)
	return int64(fs.Bavail) * int64(fs.Frsize), err
}
