//go:build !arm

package boot

import (
	"errors"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// addOthers adds the places of boards that the programs for 32-bit ARM never run on: an UP board, and a Jetson
// TX2 (docs/spec/host.md 5.1, 5.2).
func (c *Config) addOthers(o Options) {
	switch {
	case o.Slug == "up-board":
		c.add("HOST_CONFIGFS_", &acpi{path: o.Dir + "/configfs.json", root: o.Root})
		c.Late = true
	case strings.HasSuffix(o.Slug, "-tx2"):
		c.add("HOST_ODMDATA_", &odmData{part: o.Root + "/dev/mmcblk0boot0", guard: o.Root + "/sys/block/mmcblk0boot0/force_ro"})
		c.Late = true
	}
}

// LoadTables has the kernel load the ACPI tables of the boot configuration, on a board that has any
// (docs/spec/host.md 5.1), by means of loadModule, which has it load a module. The device's log hears of those that
// cannot be loaded. It waits for the kernel.
func (c *Config) LoadTables(loadModule func(name string) error, say func(text string, stderr bool), log zerolog.Logger) {
	for i := range c.places {
		if tables, ok := c.places[i].place.(*acpi); ok {
			tables.load(loadModule, say, log)
		}
	}
}

// overwrite writes data at an offset of a file that is there, and neither makes nor cuts one. The error names
// operation and path.
func overwrite(path string, data []byte, offset int64) error {
	f, err := os.OpenFile(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, offset)
	if sync := f.Sync(); err == nil && !errors.Is(sync, unix.EINVAL) { // those of /sys have nothing to write through
		err = sync
	}
	return errors.Join(err, f.Close())
}
