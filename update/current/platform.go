package current

import "strings"

// Platform is what an image says it was built for, such as arm/v7; empty while it was not inspected.
func (i *Image) Platform() string {
	if i.Doc == nil || i.Doc.Architecture == "" {
		return ""
	}
	if i.Doc.Variant == "" {
		return i.Doc.Architecture
	}
	return i.Doc.Architecture + "/" + i.Doc.Variant
}

// Fits tells whether an image runs on a machine, as uname names it, going by what the image says of
// itself. What is not known fits.
func (i *Image) Fits(machine string) bool {
	if i.Doc == nil || i.Doc.Architecture == "" {
		return true
	}
	arch, variant := i.Doc.Architecture, i.Doc.Variant
	switch {
	case machine == "x86_64":
		return arch == "amd64" || arch == "386"
	case machine == "aarch64":
		return arch == "arm64" || arch == "arm"
	case strings.HasPrefix(machine, "armv7"), strings.HasPrefix(machine, "armv8"):
		return arch == "arm" && variant != "v8"
	case strings.HasPrefix(machine, "armv6"):
		return arch == "arm" && variant != "v8" && variant != "v7"
	case machine == "i386", machine == "i686":
		return arch == "386"
	}
	return true
}
