// Package boot reads and writes the boot configuration of a board: config.txt of a Raspberry Pi,
// extra_uEnv.txt or extlinux.conf of boards that start with U-Boot, the power settings of an Orin, the lanes of
// a TX2, the ACPI tables of an UP board, and the splash image (docs/spec/cloud.md 6.2, 6.7 to 6.9;
// docs/spec/host.md 5). Which of them there are depends on the board.
package boot

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/settings"
)

// Options is where the boot configuration of a device is.
type Options struct {
	Dir  string // the boot partition
	Root string // where the root of the host is mounted
	Slug string // device type, such as raspberrypi3
	// FromTree says that the type is not from the boot partition, so that Dir may be none, and that what is there is
	// another system's: of it only what a configuration names changes.
	FromTree bool
	// Release is the release of the host's meta layer, such as 2.46.1+rev1, empty when it is not known.
	Release string
	// Power is what config.json says to the host of power and fan.
	Power Power
}

// Config is the boot configuration of a device. Its methods are safe for concurrent use.
type Config struct {
	_ [0]func() // nobody compares it: no code for that

	places []named
	// unused is why variables that no place has are not acted upon, nil when they are for boards of other types.
	unused error
	// Late says that the board has places that were not acted upon before: by an earlier version of the agent, or
	// while the boot partition was not known. A configuration of that time says nothing of them, and they stay.
	Late bool
}

// named is a place with what the names of its variables begin with.
type named struct {
	_ [0]func() // nobody compares it: no code for that

	prefix string
	place
}

// values are what a place holds, by key, as the texts of variables.
type values map[string]string

// place is something that boot configuration is kept in.
type place interface {
	// own is the key as the place calls it, empty when it is none of the place's.
	own(key string) string
	// read tells what is in effect.
	read() (values, error)
	// change tells what it takes to have the wanted values, and no others. An error, which names operation
	// and path, says that nothing can be told of the place now.
	change(want values) (change, error)
}

// change is what it takes to have wanted values.
type change struct {
	write  func() error // nil when there is nothing to write
	reboot bool         // it has its effect after a reboot only
	// refused are the keys whose values cannot be had, with the reason. What the place has of them stays,
	// and write does the rest.
	refused map[string]error
}

// New finds out what the board has. It reads nothing but the names of files, and removes what a crash left
// in the folder of extlinux.conf.
func New(o Options) *Config {
	c := &Config{}
	configTxt := &textFile{path: o.Dir + "/config.txt", fin: o.Slug == "fincm3", keeps: o.FromTree}
	hasConfigTxt := strings.HasPrefix(o.Slug, "raspberry") || slices.Contains(withConfigTxt, o.Slug)
	if o.Slug == "unknown" || hasConfigTxt && o.FromTree && !exists(configTxt.path) {
		c.unused = errors.New("not acted upon, since the board or its boot partition is not known (device-type.json, BOOT_MOUNTPOINT)")
	} else if hasConfigTxt {
		c.add("HOST_CONFIG_", configTxt)
		c.Late = o.FromTree
	}
	uEnv := &textFile{path: o.Dir + "/extra_uEnv.txt", kernel: uEnvWords}
	if hasUEnv(o.Slug) && exists(uEnv.path) {
		c.add("HOST_EXTLINUX_", uEnv)
	} else if strings.HasPrefix(o.Slug, "jetson-") && before247(o.Release) {
		uEnv.path, uEnv.kernel = o.Dir+"/extlinux/extlinux.conf", extlinuxWords
		file.Sweep(o.Dir + "/extlinux")
		c.add("HOST_EXTLINUX_", uEnv)
	}
	if strings.Contains(o.Slug, "-orin-") {
		c.add("HOST_CONFIG_", &orin{o.Power})
	}
	c.addOthers(o)
	c.add("HOST_SPLASH_", &splash{o.Dir + "/splash"})
	return c
}

func (c *Config) add(prefix string, p place) {
	c.places = append(c.places, named{prefix: prefix, place: p})
}

// withConfigTxt are the other boards whose firmware reads config.txt.
var withConfigTxt = []string{"fincm3", "rt-rpi-300", "243390-rpi3", "nebra-hnt", "revpi-connect", "revpi-connect-s", "revpi-core-3", "revpi-connect-4"}

// withUEnv are parts of the types of boards whose boot loader reads extra_uEnv.txt, if there is one; $
// is the end of a type, ^ its beginning.
var withUEnv = []string{"-nano$", "-nano-emmc$", "-nano-2gb-devkit$", "-tx2$", "-tx2-nx", "-agx-orin-", "-orin-nx-", "-orin-nano-",
	"imx8mm-var-som", "imx8m-var-dart", "imx8mm-var-dart", "^iot-gate-imx8plus$", "^iot-gate-imx8plus-d1d8$"}

func hasUEnv(slug string) bool {
	for _, part := range withUEnv {
		if strings.Contains("^"+slug+"$", part) {
			return true
		}
	}
	return false
}

// before247 tells whether a release is known and older than 2.47.
func before247(release string) bool {
	major, rest, _ := strings.Cut(release, ".")
	minor := head(rest, ".")
	return major == "1" || major == "2" && (len(minor) == 1 || len(minor) == 2 && minor < "47")
}

// exists tells whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Current is the boot configuration in effect, by canonical variable. What cannot be read has none.
func (c *Config) Current() map[string]string {
	all := make(map[string]string)
	for i := range c.places {
		have, _ := c.places[i].read() // the error comes up when it is to be changed
		for key, text := range have {
			all[c.places[i].prefix+key] = text
		}
	}
	return all
}

// Differs tells what of the boot configuration is to become otherwise, so that it is what a
// configuration (by canonical variable) says, nil when nothing is. Refused are the variables whose values
// cannot be had, with the reason, a *view.FixedBootError for a key that may not be changed: what the board
// has of them stays, and the change does without them. The error is of the places that cannot be read
// now, and the change does without these too (docs/spec/host.md 9, 14).
func (c *Config) Differs(config map[string]string) (all *settings.Boot, refused map[string]error, err error) {
	all, refused = &settings.Boot{Values: make(map[string]string)}, make(map[string]error)
	var writes []func() error
	for i := range c.places {
		p := &c.places[i]
		want := p.wanted(config)
		change, unread := p.change(want)
		err = errors.Join(err, unread)
		for key, why := range change.refused {
			refused[p.prefix+key] = why
			delete(want, key)
		}
		if change.write == nil {
			continue
		}
		have, _ := p.read()
		maps.DeleteFunc(have, func(key, _ string) bool { return change.refused[key] != nil })
		writes = append(writes, change.write)
		all.Reboot = all.Reboot || change.reboot
		all.Why += p.reason(have, want)
		for key, text := range want {
			all.Values[key] = short(text)
		}
	}
	for name := range config {
		taken := c.unused == nil || !settings.IsBoot(name)
		for i := range c.places {
			taken = taken || c.places[i].key(name) != ""
		}
		if !taken {
			refused[name] = c.unused
		}
	}
	if writes == nil {
		return nil, refused, err
	}
	all.Why = "boot configuration" + all.Why
	all.Write = func() (err error) {
		for _, write := range writes {
			err = errors.Join(err, write()) // names operation and path
		}
		return err
	}
	return all, refused, err
}

// key is what the place calls a variable, empty when it has none of that name.
func (p *named) key(name string) string {
	key, found := strings.CutPrefix(name, p.prefix)
	if !found && strings.EqualFold(name, settings.SplashImage) {
		key, found = name[len(p.prefix):], p.prefix == "HOST_SPLASH_"
	}
	if !found {
		return ""
	}
	return p.own(key)
}

// wanted is what a configuration says of a place. Of two names that mean the same the first counts.
func (p *named) wanted(config map[string]string) values {
	want := make(values)
	for _, name := range slices.Sorted(maps.Keys(config)) {
		key := p.key(name)
		if _, twice := want[key]; key != "" && !twice {
			want[key] = config[name]
		}
	}
	return want
}

// reason lists what becomes otherwise, with old and new values.
func (p *named) reason(have, want values) (why string) {
	f, _ := p.place.(*textFile)
	all := maps.Clone(map[string]string(want))
	maps.Copy(all, have)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		old, had := have[key]
		text, wanted := want[key]
		if (old != text || had != wanted) && (f == nil || !f.fixed(key) && (wanted || !f.keeps)) {
			why += ", " + key + ": " + short(old) + " -> " + short(text)
		}
	}
	return why
}

// short is a value cut to what people read.
func short(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
