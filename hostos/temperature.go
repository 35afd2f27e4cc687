package hostos

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// temperature is that of the processor in degrees Celsius: a thermal zone that says it is the
// processor's, else a sensor chip of one, else the first thermal zone. Without a sensor it is 0.
func (h *Hardware) temperature() int {
	thermal, hwmon := filepath.Join(h.sys, "class/thermal"), filepath.Join(h.sys, "class/hwmon")
	for _, zone := range entries(thermal, "thermal_zone") {
		if isProcessor(h.read(zone, "type")) {
			return h.degrees(zone, "temp")
		}
	}
	for _, chip := range entries(hwmon, "hwmon") {
		if isProcessor(h.read(chip, "name")) {
			return h.degrees(chip, "temp1_input")
		}
	}
	return h.degrees(thermal, "thermal_zone0/temp")
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

// degrees reads thousandths of a degree.
func (h *Hardware) degrees(dir, name string) int {
	value, _ := strconv.Atoi(strings.TrimSpace(h.read(dir, name)))
	return int(math.Round(float64(value) / 1000))
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
