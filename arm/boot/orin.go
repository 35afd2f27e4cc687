package boot

import "maps"

// Power is what config.json says to the host of power_mode and fan_profile.
type Power interface {
	Power() (map[string]string, error)
	SetPower(want map[string]string) error
}

// orin is the power mode and the fan profile of an Orin, which the host takes from config.json. Any text
// is one: which there are is the host's to know (docs/spec/host.md 4).
type orin struct{ power Power }

const (
	powerMode  = "power_mode"
	fanProfile = "fan_profile"
)

func (*orin) own(key string) string {
	if key == powerMode || key == fanProfile {
		return key
	}
	return ""
}

func (o *orin) read() (values, error) { return o.power.Power() }

// change needs a reboot for the power mode alone: the host takes up the fan profile at once.
func (o *orin) change(want values) (c change, err error) {
	if want[powerMode] == "" {
		delete(want, powerMode) // an empty fan profile is one, an empty mode is none
	}
	have, err := o.power.Power()
	if err != nil || maps.Equal(have, want) {
		return c, err
	}
	c.write, c.reboot = func() error { return o.power.SetPower(want) }, have[powerMode] != want[powerMode]
	return c, nil
}
