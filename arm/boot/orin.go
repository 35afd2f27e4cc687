package boot

import (
	"fmt"
	"slices"
)

// Power is what config.json says to the host of power_mode and fan_profile.
type Power interface {
	Power() (map[string]string, error)
	SetPower(want map[string]string) error
}

// orin is the power mode and the fan profile of an Orin, which the host takes from config.json.
type orin struct{ power Power }

const (
	powerMode  = "power_mode"
	fanProfile = "fan_profile"
)

// powers are the keys with the values that there are.
var powers = [...][]string{{powerMode, "", "low", "mid", "high", "default"}, {fanProfile, "", "quiet", "cool", "default"}}

func (*orin) own(key string) string {
	if key == powerMode || key == fanProfile {
		return key
	}
	return ""
}

func (o *orin) read() (values, error) {
	have, err := o.power.Power()
	return have, err
}

// change needs a reboot for the power mode alone: the host takes up the fan profile at once.
func (o *orin) change(want values) (write func() error, reboot bool, err error) {
	have, err := o.power.Power()
	if err != nil {
		return nil, false, err
	}
	for _, known := range powers {
		key := known[0]
		if have[key] == want[key] {
			continue
		}
		if !slices.Contains(known[1:], want[key]) {
			return nil, false, fmt.Errorf("%s: there is no %q", key, want[key])
		}
		reboot = reboot || key == powerMode
		write = func() error { return o.power.SetPower(want) }
	}
	return write, reboot, nil
}
