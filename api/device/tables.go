//go:build !arm

package device

import (
	"resin-supervisor/hostos"
)

// loadTables has the kernel load the ACPI tables of the boot configuration, which takes a while.
func (d *Device) loadTables() {
	load := func(module string) error { return hostos.LoadModule(d.env.Root, module) }
	go d.boot.LoadTables(load, d.pipe.Say, d.log)
}
