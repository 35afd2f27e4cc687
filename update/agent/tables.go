//go:build !arm

package agent

import (
	"resin-supervisor/hostos"
	"resin-supervisor/update/logs"
)

// loadTables has the kernel load the ACPI tables of the boot configuration, which takes a while.
func (d *device) loadTables(pipe *logs.Pipe) {
	load := func(module string) error { return hostos.LoadModule(d.root, module) }
	go d.bootConfig.LoadTables(load, pipe.Say, d.log)
}
