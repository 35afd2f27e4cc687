package current

import (
	"slices"
	"strings"
)

// Platform is what an image says it was built for, such as arm/v7; empty while it was not inspected.
func (i *Image) Platform() string {
	if i.Doc == nil {
		return ""
	}
	return PlatformName(i.Doc.Architecture, i.Doc.Variant)
}

// PlatformName is a platform as people write it, such as arm/v7.
func PlatformName(arch, variant string) string {
	if arch == "" || variant == "" {
		return arch
	}
	return arch + "/" + variant
}

// Fits tells whether an image runs on a machine, as uname names it, going by what the image says of
// itself. What is not known fits.
func (i *Image) Fits(machine string) bool {
	return i.Doc == nil || i.Doc.Architecture == "" || Rank(machine, i.Doc.Architecture, i.Doc.Variant) > 0
}

// machines are the platforms that run on a machine, best last; of amd64 and arm64 all variants do.
var machines = [...]struct{ name, runs string }{
	{"x86_64", "386 amd64"},
	{"aarch64", "arm/v5 arm/v6 arm arm/v7 arm/v8 arm64"},
	{"armv6", "arm/v5 arm arm/v6"},
	{"armv8", "arm/v5 arm/v6 arm arm/v7 arm/v8"},
	{"armv", "arm/v5 arm/v6 arm arm/v7"},
	{"i", "386"},
}

// Rank tells how well what was built for a platform runs on a machine, as uname names it: 0 not at all,
// and of several platforms the engine takes the one of the highest rank. A machine that is not known
// runs anything.
func Rank(machine, arch, variant string) int {
	if arch != "arm" {
		variant = ""
	}
	for _, m := range machines {
		if strings.HasPrefix(machine, m.name) {
			return slices.Index(strings.Fields(m.runs), PlatformName(arch, variant)) + 1
		}
	}
	return 1
}
