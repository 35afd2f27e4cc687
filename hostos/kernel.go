package hostos

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel names the running kernel in lower case and its release, such as linux and 6.1.0-v8+
// (spec/cloud.md 3.8). Both are empty when the kernel does not say.
func Kernel() (name, release string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", ""
	}
	return strings.ToLower(unix.ByteSliceToString(u.Sysname[:])), unix.ByteSliceToString(u.Release[:])
}
