//go:build !arm

package boot

import (
	"errors"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// addOthers adds the backends of boards that never run the programs for 32-bit ARM: an UP board, and a Jetson TX2
// (docs/spec/host.md 5.1, 5.2).
func (c *Config) addOthers(o Options) {
	switch {
	case o.Slug == "up-board":
		c.add("HOST_CONFIGFS_", &acpi{path: o.Dir + "/configfs.json", root: o.Root})
		c.Late = true
	case strings.HasSuffix(o.Slug, "-tx2"):
		c.add("HOST_ODMDATA_", &odmData{part: o.Root + "/dev/mmcblk0boot0", forceRO: o.Root + "/sys/block/mmcblk0boot0/force_ro"})
		c.Late = true
	}
}

// LoadTables loads the ACPI tables of the boot configuration into the kernel, on a board that has any
// (docs/spec/host.md 5.1). loadModule loads a kernel module. The device's log shows tables that cannot be loaded.
// LoadTables waits for the kernel.
func (c *Config) LoadTables(loadModule func(name string) error, logToDevice func(text string, stderr bool), log zerolog.Logger) {
	for i := range c.backends {
		if tables, ok := c.backends[i].backend.(*acpi); ok {
			tables.load(loadModule, logToDevice, log)
		}
	}
}

// overwrite writes data at an offset of an existing file. It does not create or truncate the file. The error names
// operation and path.
func overwrite(path string, data []byte, offset int64) error {
	f, err := os.OpenFile(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, offset)
	if sync := f.Sync(); err == nil && !errors.Is(sync, unix.EINVAL) { // files of /sys cannot be synced
		err = sync
	}
	return errors.Join(err, f.Close())
}
