// Package boot reads and writes the boot configuration of a board: config.txt of a Raspberry Pi,
// extra_uEnv.txt or extlinux.conf of boards that start with U-Boot, the power settings of an Orin, and
// the splash image (spec/cloud.md 6.2, 6.7 to 6.9). Which of them there are depends on the board.
package boot

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"resin-supervisor/update/settings"
)

// Options is where the boot configuration of a device is.
type Options struct {
	Dir  string // the boot partition
	Slug string // device type, such as raspberrypi3
	// Release is the release of the host's meta layer, such as 2.46.1+rev1, empty when it is not known.
	Release string
	// Power is what config.json says to the host of power and fan.
	Power Power
}

// Config is the boot configuration of a device. Its methods are safe for concurrent use as long as
// Apply runs once at a time.
type Config struct{ places []place }

// values are what a place holds, by key.
type values map[string]string

// place is something that boot configuration is kept in.
type place interface {
	// variable names the variables of the place: prefix and key. A key that is none of the place's has
	// no variable.
	variable(key string) string
	// key is that of a variable, empty when it is none of the place's.
	key(variable string) string
	// read tells what is in effect.
	read() (values, error)
	// change tells what it takes to have the wanted values, and no others: nil when nothing does.
	change(want values) (write func() error, reboot bool, err error)
}

// New finds out what the board has. It reads nothing but the names of files.
func New(o Options) *Config {
	places := []place{}
	if hasConfigTxt(o.Slug) {
		places = append(places, &textFile{
			path: filepath.Join(o.Dir, "config.txt"), prefix: "HOST_CONFIG_", syntax: configTxt{finned: o.Slug == "fincm3"},
		})
	}
	uEnv := filepath.Join(o.Dir, "extra_uEnv.txt")
	switch {
	case hasUEnv(o.Slug) && exists(uEnv):
		places = append(places, &textFile{path: uEnv, prefix: "HOST_EXTLINUX_", syntax: extraUEnv{}})
	case strings.HasPrefix(o.Slug, "jetson-") && before(o.Release, 2, 47):
		path := filepath.Join(o.Dir, "extlinux", "extlinux.conf")
		places = append(places, &textFile{path: path, prefix: "HOST_EXTLINUX_", syntax: extlinux{}})
	}
	if strings.Contains(o.Slug, "-orin-") && o.Power != nil {
		places = append(places, orin{o.Power})
	}
	return &Config{append(places, &splash{dir: filepath.Join(o.Dir, "splash")})}
}

// hasConfigTxt tells whether the firmware of a board reads config.txt.
func hasConfigTxt(slug string) bool {
	return strings.HasPrefix(slug, "raspberry") || slices.Contains([]string{"fincm3", "rt-rpi-300", "243390-rpi3", "nebra-hnt",
		"revpi-connect", "revpi-connect-s", "revpi-core-3", "revpi-connect-4"}, slug)
}

// hasUEnv tells whether the boot loader of a board reads extra_uEnv.txt, if there is one.
func hasUEnv(slug string) bool {
	for _, end := range [...]string{"-nano", "-nano-emmc", "-nano-2gb-devkit", "-tx2"} {
		if strings.HasSuffix(slug, end) {
			return true
		}
	}
	for _, part := range [...]string{"-tx2-nx", "-agx-orin-", "-orin-nx-", "-orin-nano-", "imx8mm-var-som", "imx8m-var-dart", "imx8mm-var-dart"} {
		if strings.Contains(slug, part) {
			return true
		}
	}
	return slug == "iot-gate-imx8plus" || slug == "iot-gate-imx8plus-d1d8"
}

// before tells whether a release is known and older than major.minor.
func before(release string, major, minor int) bool {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a < major || a == major && b < minor)
}

// Current is the boot configuration in effect, by canonical variable. What cannot be read has none.
func (c *Config) Current() map[string]string {
	all := make(map[string]string)
	for _, p := range c.places {
		have, _ := p.read() // the error comes up when it is to be changed
		for key, text := range have {
			all[p.variable(key)] = text
		}
	}
	return all
}

// Differs tells what of the boot configuration is to become otherwise, so that it is what a
// configuration (by canonical variable) says, nil when nothing is. An error says that it cannot be had;
// it is a *view.FixedBootError for a key that may not be changed.
func (c *Config) Differs(config map[string]string) (*settings.Boot, error) {
	var all *settings.Boot
	for _, p := range c.places {
		want := wanted(p, config)
		write, reboot, err := p.change(want)
		if err != nil {
			return nil, err
		}
		if write == nil {
			continue
		}
		if all == nil {
			all = &settings.Boot{Values: make(map[string]string)}
		}
		have, _ := p.read()
		all.Why += reason(have, want)
		all.Reboot = all.Reboot || reboot
		for key, text := range want {
			all.Values[key] = short(text)
		}
	}
	if all != nil {
		if all.Why = strings.TrimPrefix(all.Why, ", "); all.Why == "" {
			all.Why = "what the board always has is missing"
		}
	}
	return all, nil
}

// reason lists what differs, with old and new values.
func reason(have, want values) string {
	all := maps.Clone(want)
	maps.Copy(all, have)
	text := ""
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if have[key] != want[key] {
			text += ", " + key + ": " + short(have[key]) + " -> " + short(want[key])
		}
	}
	return text
}

// short is a value cut to what people read.
func short(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// Apply makes the boot configuration what a configuration says, durably. Nothing is written when a part
// of it cannot be had, nor what is so already.
func (c *Config) Apply(config map[string]string) error {
	var writes []func() error
	for _, p := range c.places {
		write, _, err := p.change(wanted(p, config))
		if err != nil {
			return err
		}
		if write != nil {
			writes = append(writes, write)
		}
	}
	for _, write := range writes {
		if err := write(); err != nil {
			return err // names operation and path
		}
	}
	return nil
}

// wanted is what a configuration says of a place. Of two names that mean the same the first counts.
func wanted(p place, config map[string]string) values {
	names := make([]string, 0, len(config))
	for name := range config {
		names = append(names, name)
	}
	slices.Sort(names)
	want := make(values)
	for _, name := range names {
		key := p.key(name)
		if _, twice := want[key]; key != "" && !twice {
			want[key] = config[name]
		}
	}
	return want
}
