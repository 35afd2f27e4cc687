package board

import (
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// boards lists pairs of a part of the device tree's names and the device type (docs/spec/host.md 5). The first match
// counts, because a tree also names boards that this one is compatible with. Compute Modules before the 4 are missing:
// their type depends on the carrier board.
var boards = [...][2]string{
	{"raspberrypi,model-zero-2", "raspberrypi0-2w-64"},
	{"raspberrypi,model-", "raspberry-pi"},
	{"raspberrypi,2-", "raspberry-pi2"},
	{"raspberrypi,3-model-", "raspberrypi3"},
	{"raspberrypi,4-model-", "raspberrypi4-64"},
	{"raspberrypi,4-compute-module", "raspberrypicm4-ioboard"},
	{"raspberrypi,400", "raspberrypi400-64"},
	{"raspberrypi,5", "raspberrypi5"},
	{"BeagleBone Green Gateway", "beaglebone-green-gateway"},
	{"am335x-bone-green-wireless", "beaglebone-green-wifi"},
	{"am335x-bone-green", "beaglebone-green"},
	{"am335x-bone-black", "beaglebone-black"},
	{"j721e-beagleboneai64", "beaglebone-ai64"},
}

// readTree returns the board's names in the device tree: the compatible ones, each with a zero byte at its end, and the
// model. It is empty without a device tree.
func readTree(root string) string {
	// The first is a link, which may lead nowhere in a container.
	for _, dir := range [...]string{"/proc/device-tree", "/sys/firmware/devicetree/base"} {
		names, err := file.Read(root+dir+"/compatible", file.Small)
		if err == nil {
			model, _ := file.Read(root+dir+"/model", file.Small) // only one board needs it
			return string(names) + string(model)
		}
	}
	return ""
}

// fromTree is the device type for the names in a device tree and the architecture of the system.
func fromTree(tree, arch string) Type {
	for _, b := range boards {
		if !strings.Contains(tree, b[0]) {
			continue
		}
		slug := b[1]
		if slug == "raspberrypi3" && arch == "aarch64" {
			slug += "-64" // the only board with a type for each architecture
		}
		return Type{Slug: slug, Arch: arch, FromTree: true}
	}
	return Type{}
}

// arch is the architecture of the running system, as device types name it.
func arch() string {
	switch runtime.GOARCH {
	case "arm":
		var u unix.Utsname
		if unix.Uname(&u) == nil && strings.HasPrefix(unix.ByteSliceToString(u.Machine[:]), "armv6") {
			return "rpi"
		}
		return "armv7hf"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}
