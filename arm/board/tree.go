package board

import (
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// boards are the boards with a device type of their own: a part of what the device tree calls it, and the type
// (docs/spec/host.md 5). The first that fits counts, since a tree also names what the board is compatible with.
// Compute Modules before the 4 are not among them: the board that carries one makes the type.
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

// readTree is what the device tree says of the board: the names it is compatible with, each with a zero byte at
// its end, and its model. It is empty where there is none.
func readTree(root string) string {
	// The first is a link, which in a container may lead to where nothing is seen.
	for _, dir := range [...]string{"/proc/device-tree", "/sys/firmware/devicetree/base"} {
		names, err := file.Read(root+dir+"/compatible", file.Small)
		if err == nil {
			model, _ := file.Read(root+dir+"/model", file.Small) // one board alone needs it
			return string(names) + string(model)
		}
	}
	return ""
}

// fromTree is the type of the board that a device tree tells of, on a system of an architecture.
func fromTree(tree, arch string) Type {
	for _, b := range boards {
		if !strings.Contains(tree, b[0]) {
			continue
		}
		slug := b[1]
		if slug == "raspberrypi3" && arch == "aarch64" {
			slug += "-64" // the one board with a type for each
		}
		return Type{Slug: slug, Arch: arch, FromTree: true}
	}
	return Type{}
}

// arch is the architecture of the system that the program runs on, as device types call it.
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
