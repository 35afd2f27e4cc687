package hostos

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// temperature is that of the processor in degrees Celsius, 0 without a sensor.
func (h *Hardware) temperature() int {
	value, _ := strconv.Atoi(strings.TrimSpace(h.read("", h.sensor())))
	return int(math.Round(float64(value) / 1000))
}

// sensor is the file with the temperature of the processor, in thousandths of a degree: of a thermal
// zone that says it is the processor's, else of a sensor chip of one, else of the first thermal zone,
// which may not be there.
func (h *Hardware) sensor() string {
	thermal, hwmon := filepath.Join(h.sys, "class/thermal"), filepath.Join(h.sys, "class/hwmon")
	for _, zone := range entries(thermal, "thermal_zone") {
		if isProcessor(h.read(zone, "type")) {
			return filepath.Join(zone, "temp")
		}
	}
	for _, chip := range entries(hwmon, "hwmon") {
		if isProcessor(h.read(chip, "name")) {
			return filepath.Join(chip, "temp1_input")
		}
	}
	return filepath.Join(thermal, "thermal_zone0/temp")
}

// isProcessor knows the names under which kernels show the processor's sensor.
func isProcessor(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, part := range [...]string{"cpu", "soc", "x86_pkg_temp", "coretemp", "k10temp"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// entries lists what in dir starts with prefix, by name.
func entries(dir, prefix string) (paths []string) {
	list, _ := os.ReadDir(dir) // none is a fact, not an error
	for _, entry := range list {
		if strings.HasPrefix(entry.Name(), prefix) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths
}
