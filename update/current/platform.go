package current

import (
	"slices"
	"strings"
)

// Platform is the platform that an image names, such as arm/v7; empty while the image was not inspected.
func (i *Image) Platform() string {
	if i.Doc == nil {
		return ""
	}
	return PlatformName(i.Doc.Architecture, i.Doc.Variant)
}

// PlatformName is the usual name of a platform, such as arm/v7.
func PlatformName(arch, variant string) string {
	if arch == "" || variant == "" {
		return arch
	}
	return arch + "/" + variant
}

// Fits reports whether an image runs on a machine, as uname names it, by the platform that the image names. An unknown
// platform fits.
func (i *Image) Fits(machine string) bool {
	return i.Doc == nil || i.Doc.Architecture == "" || Rank(machine, i.Doc.Architecture, i.Doc.Variant) > 0
}

// machines lists the platforms that run on a machine, the best one last. All variants of amd64 and arm64 run.
var machines = [...]struct{ name, runs string }{
	{"x86_64", "386 amd64"},
	{"aarch64", "arm/v5 arm/v6 arm arm/v7 arm/v8 arm64"},
	{"armv6", "arm/v5 arm arm/v6"},
	{"armv8", "arm/v5 arm/v6 arm arm/v7 arm/v8"},
	{"armv", "arm/v5 arm/v6 arm arm/v7"},
	{"i", "386"},
}

// Rank says how well a platform runs on a machine, as uname names it. 0 means that it does not run. Of several
// platforms the engine takes the one with the highest rank. An unknown machine runs all platforms.
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
