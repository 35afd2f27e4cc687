package boot

import "maps"

// Power reads and writes power_mode and fan_profile in config.json, for the host.
type Power interface {
	Power() (map[string]string, error)
	SetPower(want map[string]string) error
}

// orin is the power mode and the fan profile of an Orin, which the host reads from config.json. Any text is accepted,
// because only the host knows its modes and profiles (docs/spec/host.md 4).
type orin struct{ power Power }

const (
	powerMode  = "power_mode"
	fanProfile = "fan_profile"
)

func (*orin) canonicalKey(key string) string {
	if key == powerMode || key == fanProfile {
		return key
	}
	return ""
}

func (o *orin) read() (values, error) { return o.power.Power() }

// change needs a reboot only for the power mode. The host applies the fan profile at once.
func (o *orin) change(want values) (c change, err error) {
	if want[powerMode] == "" {
		delete(want, powerMode) // an empty fan profile is valid, an empty mode means none
	}
	have, err := o.power.Power()
	if err != nil || maps.Equal(have, want) {
		return c, err
	}
	c.write, c.reboot = func() error { return o.power.SetPower(want) }, have[powerMode] != want[powerMode]
	return c, nil
}
