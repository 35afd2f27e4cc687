package main

import (
	"resin-supervisor/hostos"
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

// becomes ends the process when somebody else made another device of this one in config.json, such as
// by joining or leaving a cloud: started again, every part of it begins with the new identity. What was
// changed stays as it is (spec/cloud.md 1.1, 7.4).
func (d *device) becomes(end func()) func(before, now hostos.Settings) {
	return func(before, now hostos.Settings) {
		if !before.SameDevice(now) {
			d.log.Warn().Msg("config.json makes another device of this one, ending to be started again as that")
			end()
		}
	}
}
