package main

import (
	"resin-supervisor/update/logs"
	"resin-supervisor/update/settings"
)

// configured acts on the settings that concern the parts of the supervisor beside update, at start and
// whenever they change (spec/cloud.md 6.2).
func (d *device) configured(pipe *logs.Pipe) func(settings.Settings) {
	return func(s settings.Settings) {
		pipe.SetMode(d.logMode(s.LocalMode, s.LogControl))
		if d.cloud != nil {
			d.cloud.Enable(s.ConnectivityCheck)
		}
	}
}
