package hostos

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// Booted is when the device booted, by the clock as it is set now; the zero time when the kernel
// does not tell.
func Booted() time.Time {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(since.Nano()))
}

// BootID is the kernel's name for this boot, another one each time; empty when it does not tell.
func BootID() string {
	id, _ := file.Read("/proc/sys/kernel/random/boot_id", file.Small) // proc may be hidden: then times decide
	return strings.TrimSpace(string(id))
}
