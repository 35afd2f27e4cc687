package hostos

import (
	"time"

	"golang.org/x/sys/unix"
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
