package hostos

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel names the running kernel in lower case and its release, such as linux and 6.1.0-v8+
// (docs/spec/cloud.md 3.8). Both are empty when the kernel does not say.
func Kernel() (name, release string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", ""
	}
	return strings.ToLower(unix.ByteSliceToString(u.Sysname[:])), unix.ByteSliceToString(u.Release[:])
}

// KernelVersion is the version at the head of a kernel release, with three parts: 6.18.44 of 6.18.44-v8
// (docs/spec/cloud.md 3.8). It is empty when there is none.
func KernelVersion(release string) string { return leadingVersion(release) }

// L4T is the version of NVIDIA's Linux for Tegra in a kernel release such as 4.9.140-l4t-r32.3.1, with
// three parts, empty for another kernel (docs/spec/cloud.md 3.8).
func L4T(release string) string {
	_, text, _ := strings.Cut(release, "-l4t-r")
	return leadingVersion(text)
}

// leadingVersion is the version of three parts that a text begins with, of two parts with .0 after them.
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
