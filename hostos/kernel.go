package hostos

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel returns the name of the running kernel in lower case and its release, such as linux and 6.1.0-v8+
// (docs/spec/cloud.md 3.8). Both are empty after an error.
func Kernel() (name, release string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", ""
	}
	return strings.ToLower(unix.ByteSliceToString(u.Sysname[:])), unix.ByteSliceToString(u.Release[:])
}

// KernelVersion returns the version at the start of a kernel release, with three parts: 6.18.44 for 6.18.44-v8
// (docs/spec/cloud.md 3.8). It is empty if there is none.
func KernelVersion(release string) string { return leadingVersion(release) }

// L4T returns the version of NVIDIA's Linux for Tegra in a kernel release such as 4.9.140-l4t-r32.3.1, with three
// parts. It is empty for another kernel (docs/spec/cloud.md 3.8).
func L4T(release string) string {
	_, text, _ := strings.Cut(release, "-l4t-r")
	return leadingVersion(text)
}

// leadingVersion returns the version at the start of a text, with three parts: 1.2 becomes 1.2.0.
func leadingVersion(text string) string {
	end := strings.IndexFunc(text, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	if end >= 0 {
		text = text[:end]
	}
	parts := strings.Split(strings.Trim(text, "."), ".")
	if len(parts) < 2 {
		return ""
	}
	return strings.Join(append(parts[:min(len(parts), 3)], "0")[:3], ".")
}
