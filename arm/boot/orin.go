package boot

import (
	"fmt"
	"slices"
)

// Power is what config.json says to the host of a power mode and of a fan profile; empty is nothing.
type Power interface {
	Power() (mode, fan string, err error)
	SetPower(mode, fan string) error
}

// orin is the power mode and the fan profile of an Orin, which the host takes from config.json.
type orin struct{ power Power }

const (
	powerMode  = "power_mode"
	fanProfile = "fan_profile"
)

func (orin) variable(key string) string { return "HOST_CONFIG_" + key }

func (o orin) key(variable string) string {
	for _, key := range [...]string{powerMode, fanProfile} {
		if variable == o.variable(key) {
			return key
		}
	}
	return ""
}

func (o orin) read() (values, error) {
	mode, fan, err := o.power.Power()
	have := make(values)
	for key, text := range map[string]string{powerMode: mode, fanProfile: fan} {
		if text != "" {
			have[key] = text
		}
	}
	return have, err
}

// change needs a reboot for the power mode alone: the host takes up the fan profile at once.
func (o orin) change(want values) (write func() error, reboot bool, err error) {
	have, err := o.read()
	if err != nil || have[powerMode] == want[powerMode] && have[fanProfile] == want[fanProfile] {
		return nil, false, err
	}
	for key, known := range map[string][]string{powerMode: {"", "low", "mid", "high", "default"}, fanProfile: {"", "quiet", "cool", "default"}} {
		if have[key] != want[key] && !slices.Contains(known, want[key]) {
			return nil, false, fmt.Errorf("%s: there is no %q", key, want[key])
		}
	}
	return func() error { return o.power.SetPower(want[powerMode], want[fanProfile]) }, have[powerMode] != want[powerMode], nil
}
