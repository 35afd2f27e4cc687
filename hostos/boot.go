package hostos

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// Booted returns when the device booted, according to the current clock. It returns the zero time after an error.
func Booted() time.Time {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(since.Nano()))
}

// BootID returns the kernel's unique id of the current boot, empty if it cannot be read.
func BootID() string {
	id, _ := file.Read("/proc/sys/kernel/random/boot_id", file.Small) // callers then compare boot times
	return strings.TrimSpace(string(id))
}
