// Package settings_test proves what configuration variables do to a device of a cloud, and how
// config.json is treated (docs/spec/cloud.md 1 and 6).
package settings_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// vars is a configuration.
type vars map[string]string

// device is a device of a cloud.
type device struct {
	*harness.Supervisor
	t *testing.T
}

// managed is a device that is registered and was not started yet.
func managed(t *testing.T, setup harness.Setup) *device {
	t.Helper()
	s, _ := harness.NewManaged(t, setup)
	return &device{s, t}
}

// shop is an app of one service.
func shop(t *testing.T) harness.App {
	t.Helper()
	return harness.Shop("aaaa1", 1, harness.ServerImage("settings/app:v1").Load(t).Service("web", 1))
}

// configure gives the device a target of its cloud with this configuration.
func (d *device) configure(config vars, apps ...harness.App) {
	d.t.Helper()
	d.Assign(harness.Target{Config: config, Apps: apps})
}

// set configures the device and has it ask its cloud for that.
func (d *device) set(config vars, apps ...harness.App) {
	d.t.Helper()
	d.configure(config, apps...)
	d.PollNow()
}

// shown is the configuration that the device API shows.
func (d *device) shown() vars {
	d.t.Helper()
	var answer struct {
		State struct{ Local struct{ Config vars } }
	}
	d.Get("/v2/local/target-state").JSON(d.t, &answer)
	return answer.State.Local.Config
}
