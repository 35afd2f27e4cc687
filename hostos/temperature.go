package hostos

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// temperature returns the temperature of the processor in degrees Celsius, 0 without a sensor.
func (h *Hardware) temperature() int {
	value, _ := strconv.Atoi(strings.TrimSpace(h.read("", h.sensor())))
	return int(math.Round(float64(value) / 1000))
}

// sensor returns the path of the file with the processor's temperature, in thousandths of a degree. It prefers a
// thermal zone of a processor, then a sensor chip of a processor, then the first thermal zone. The file may not
// exist.
func (h *Hardware) sensor() string {
	thermal, hwmon := filepath.Join(h.sys, "class/thermal"), filepath.Join(h.sys, "class/hwmon")
	for _, zone := range listDir(thermal, "thermal_zone") {
		if isProcessor(h.read(zone, "type")) {
			return filepath.Join(zone, "temp")
		}
	}
	for _, chip := range listDir(hwmon, "hwmon") {
		if isProcessor(h.read(chip, "name")) {
			return filepath.Join(chip, "temp1_input")
		}
	}
	return filepath.Join(thermal, "thermal_zone0/temp")
}

// isProcessor reports whether a sensor's name is one that kernels use for the processor.
func isProcessor(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, part := range [...]string{"cpu", "soc", "x86_pkg_temp", "coretemp", "k10temp"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// listDir returns the paths of the entries of dir whose names start with prefix, sorted.
func listDir(dir, prefix string) (paths []string) {
	list, _ := os.ReadDir(dir) // a missing directory counts as empty
	for _, entry := range list {
		if strings.HasPrefix(entry.Name(), prefix) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths
}
