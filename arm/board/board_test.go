package board

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeTree(t *testing.T, root, dir, compatible, model string) {
	t.Helper()
	dir = filepath.Join(root, dir)
	err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "compatible"), []byte(compatible), 0o444))
	if model != "" {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "model"), []byte(model), 0o444))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	if got := Read(dir, root); got != (Type{Slug: "unknown", Arch: "unknown"}) {
		t.Fatalf("missing file: got %v", got)
	}
	// An existing file counts even if it is broken, because the tree may not name the board.
	writeTree(t, root, "proc/device-tree", "raspberrypi,4-model-b\x00brcm,bcm2711\x00", "Raspberry Pi 4 Model B Rev 1.4\x00")
	for _, test := range []struct {
		text string
		want Type
	}{
		{`{"slug":"raspberrypi3","arch":"armv7hf","name":"Raspberry Pi 3","data":{"arch":"x"}}`, Type{Slug: "raspberrypi3", Arch: "armv7hf"}},
		{`{"slug":"raspberry-pi"}`, Type{Slug: "raspberry-pi", Arch: "unknown"}},
		{`{"slug":7,"arch":"rpi"}`, Type{Slug: "unknown", Arch: "rpi"}},
		{`{"slug":null,"arch":""}`, Type{Slug: "unknown", Arch: "unknown"}},
		{`{"slug":"cut`, Type{Slug: "unknown", Arch: "unknown"}},
		{`[]`, Type{Slug: "unknown", Arch: "unknown"}},
		{``, Type{Slug: "unknown", Arch: "unknown"}},
		{`{"slug":"beaglebone-black","arch":"armv7hf"}`, Type{Slug: "beaglebone-black", Arch: "armv7hf"}}, // repaired
	} {
		if err := os.WriteFile(filepath.Join(dir, "device-type.json"), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Read(dir, root); got != test.want {
			t.Errorf("%s: got %v, want %v", test.text, got, test.want)
		}
	}
}

// docs/spec/host.md 9, 12: the device trees of kernels, by their compatible names (here separated by blanks) and model.
func TestDeviceTree(t *testing.T) {
	for _, test := range []struct{ compatible, model, slug, slug64 string }{
		{"raspberrypi,model-a brcm,bcm2835", "Raspberry Pi Model A Rev 2", "raspberry-pi", ""},
		{"raspberrypi,model-b brcm,bcm2835", "Raspberry Pi Model B Rev 1", "raspberry-pi", ""},
		{"raspberrypi,model-b-rev2 brcm,bcm2835", "Raspberry Pi Model B Rev 2", "raspberry-pi", ""},
		{"raspberrypi,model-b-plus brcm,bcm2835", "Raspberry Pi Model B Plus Rev 1.2", "raspberry-pi", ""},
		{"raspberrypi,model-zero brcm,bcm2835", "Raspberry Pi Zero Rev 1.3", "raspberry-pi", ""},
		{"raspberrypi,model-zero-w brcm,bcm2835", "Raspberry Pi Zero W Rev 1.1", "raspberry-pi", ""},
		{"raspberrypi,model-zero-2-w brcm,bcm2837", "Raspberry Pi Zero 2 W Rev 1.0", "raspberrypi0-2w-64", "raspberrypi0-2w-64"},
		{"raspberrypi,2-model-b brcm,bcm2836", "Raspberry Pi 2 Model B Rev 1.1", "raspberry-pi2", ""},
		{"raspberrypi,2-model-b-rev2 brcm,bcm2837", "Raspberry Pi 2 Model B Rev 1.2", "raspberry-pi2", "raspberry-pi2"},
		{"raspberrypi,3-model-b brcm,bcm2837", "Raspberry Pi 3 Model B Rev 1.2", "raspberrypi3", "raspberrypi3-64"},
		{"raspberrypi,3-model-a-plus brcm,bcm2837", "Raspberry Pi 3 Model A Plus Rev 1.0", "raspberrypi3", "raspberrypi3-64"},
		{"raspberrypi,3-model-b-plus brcm,bcm2837", "Raspberry Pi 3 Model B Plus Rev 1.3", "raspberrypi3", "raspberrypi3-64"},
		{"raspberrypi,4-model-b brcm,bcm2711", "Raspberry Pi 4 Model B Rev 1.4", "raspberrypi4-64", "raspberrypi4-64"},
		{"raspberrypi,400 brcm,bcm2711", "Raspberry Pi 400 Rev 1.0", "raspberrypi400-64", "raspberrypi400-64"},
		{"raspberrypi,4-compute-module brcm,bcm2711", "Raspberry Pi Compute Module 4 Rev 1.0", "raspberrypicm4-ioboard", "raspberrypicm4-ioboard"},
		{"raspberrypi,5-model-b brcm,bcm2712", "Raspberry Pi 5 Model B Rev 1.0", "raspberrypi5", "raspberrypi5"},
		{"ti,am335x-bone-black ti,am335x-bone ti,am33xx", "TI AM335x BeagleBone Black", "beaglebone-black", ""},
		{"ti,am335x-bone-green ti,am335x-bone-black ti,am335x-bone ti,am33xx", "TI AM335x BeagleBone Green", "beaglebone-green", ""},
		{"ti,am335x-bone-green-wireless ti,am335x-bone-green ti,am335x-bone-black ti,am335x-bone ti,am33xx", "TI AM335x BeagleBone Green Wireless", "beaglebone-green-wifi", ""},
		{"seeed,am335x-bone-green-wireless ti,am33xx", "Seeed AM335x BeagleBone Green Wireless", "beaglebone-green-wifi", ""},
		{"ti,am335x-bone-green ti,am335x-bone-black ti,am335x-bone ti,am33xx", "SeeedStudio BeagleBone Green Gateway", "beaglebone-green-gateway", ""},
		{"beagle,j721e-beagleboneai64 ti,j721e", "BeagleBoard.org BeagleBone AI-64", "", "beaglebone-ai64"},

		{"raspberrypi,compute-module brcm,bcm2835", "Raspberry Pi Compute Module Rev 1.0", unknown, unknown},
		{"raspberrypi,3-compute-module brcm,bcm2837", "Raspberry Pi Compute Module 3 Rev 1.0", unknown, unknown},
		{"ti,am335x-bone ti,am33xx", "TI AM335x BeagleBone", unknown, unknown},
		{"ti,am335x-pocketbeagle ti,am335x-bone ti,am33xx", "TI AM335x PocketBeagle", unknown, unknown},
		{"linux,dummy-virt", "", unknown, unknown},
		{"", "", unknown, unknown},
	} {
		root := t.TempDir()
		dir := "sys/firmware/devicetree/base"
		if len(test.model)%2 == 0 {
			dir = "proc/device-tree"
		}
		zeros := ""
		for _, name := range strings.Fields(test.compatible) {
			zeros += name + "\x00"
		}
		writeTree(t, root, dir, zeros, test.model+"\x00")
		for arch, slug := range map[string]string{"armv7hf": test.slug, "aarch64": test.slug64} {
			want := Type{Slug: slug, Arch: arch, FromTree: true}
			if slug == unknown {
				want = Type{}
			}
			if got := fromTree(readTree(root), arch); slug != "" && got != want {
				t.Errorf("%s on %s: got %v, want %v", test.compatible, arch, got, want)
			}
		}
		want := Type{Slug: unknown, Arch: unknown}
		if test.slug != unknown {
			want = fromTree(readTree(root), arch())
		}
		if got := Read(t.TempDir(), root); got != want {
			t.Errorf("%s: got %v, want %v", test.compatible, got, want)
		}
	}
}
