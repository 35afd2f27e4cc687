// Package boot reads and writes the boot configuration of a board (docs/spec/cloud.md 6.2, 6.7 to 6.9;
// docs/spec/host.md 5). The board decides which parts exist: config.txt of a Raspberry Pi, extra_uEnv.txt or
// extlinux.conf of U-Boot, the power settings of an Orin, the lanes of a TX2, the ACPI tables of an UP board, and the
// splash image.
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

// Options says where the boot configuration of a device is.
type Options struct {
	Dir  string // the boot partition
	Root string // where the host's root is mounted
	Slug string // device type, such as raspberrypi3
	// FromTree says that the device type does not come from the boot partition. Dir may then be no boot partition, or
	// that of another system than balenaOS. Only values that a configuration names are changed there.
	FromTree bool
	// Release is the release of the host's meta layer, such as 2.46.1+rev1, empty when unknown.
	Release string
	// Power is the power mode and fan profile in config.json.
	Power Power
}

// Config is the boot configuration of a device. Its methods are safe for concurrent use.
type Config struct {
	backends []prefixed
	// unusedReason is the error for variables without a backend, nil when these are for other types of boards.
	unusedReason error
	// Late says that the board has backends that were not used before, by an earlier version of the agent or while
	// the boot partition was unknown. A configuration from that time does not name their values, so these stay.
	Late bool
}

// prefixed is a backend with the prefix of its variables.
type prefixed struct {
	prefix string
	backend
}

// values holds the values of a backend by key, as the texts of variables.
type values map[string]string

// backend is one place that holds boot configuration, such as a file.
type backend interface {
	// canonicalKey is the backend's spelling of a key, empty when the backend has no such key.
	canonicalKey(key string) string
	// read returns the current values.
	read() (values, error)
	// change returns the change to exactly the wanted values. An error, which names operation and path, says that the
	// backend cannot be read now.
	change(want values) (change, error)
}

// change is the change of a backend to the wanted values.
type change struct {
	write  func() error // nil when nothing has to be written
	reboot bool         // it takes effect only after a reboot
	// refused holds the keys with invalid values and the reasons. Their current values stay, and write writes the
	// others.
	refused map[string]error
}

// New finds the backends of the board. It reads only names of files, and removes leftovers of a crash in the folder of
// extlinux.conf.
func New(o Options) *Config {
	c := &Config{}
	configTxt := &textFile{path: o.Dir + "/config.txt", isFin: o.Slug == "fincm3", foreign: o.FromTree}
	hasConfigTxt := strings.HasPrefix(o.Slug, "raspberry") || slices.Contains(withConfigTxt, o.Slug)
	if o.Slug == "unknown" || hasConfigTxt && o.FromTree && !exists(configTxt.path) {
		c.unusedReason = errors.New("not applied, because the board or its boot partition is unknown (device-type.json, BOOT_MOUNTPOINT)")
	} else if hasConfigTxt {
		c.add("HOST_CONFIG_", configTxt)
		c.Late = o.FromTree
	}
	uEnv := &textFile{path: o.Dir + "/extra_uEnv.txt", syntax: uEnvSyntax}
	if hasUEnv(o.Slug) && exists(uEnv.path) {
		c.add("HOST_EXTLINUX_", uEnv)
	} else if strings.HasPrefix(o.Slug, "jetson-") && before247(o.Release) {
		uEnv.path, uEnv.syntax = o.Dir+"/extlinux/extlinux.conf", extlinuxSyntax
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

func (c *Config) add(prefix string, p backend) {
	c.backends = append(c.backends, prefixed{prefix: prefix, backend: p})
}

// withConfigTxt lists the other boards whose firmware reads config.txt.
var withConfigTxt = []string{"fincm3", "rt-rpi-300", "243390-rpi3", "nebra-hnt", "revpi-connect", "revpi-connect-s", "revpi-core-3", "revpi-connect-4"}

// withUEnv lists parts of the types of boards whose boot loader reads extra_uEnv.txt if it exists. ^ is the start of a
// type, $ its end.
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

// before247 reports whether a release is known and older than 2.47.
func before247(release string) bool {
	major, rest, _ := strings.Cut(release, ".")
	minor := head(rest, ".")
	return major == "1" || major == "2" && (len(minor) == 1 || len(minor) == 2 && minor < "47")
}

// exists reports whether a file exists.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Current is the current boot configuration, by canonical variable, without backends that cannot be read.
func (c *Config) Current() map[string]string {
	all := make(map[string]string)
	for i := range c.backends {
		have, _ := c.backends[i].read() // a change returns the error
		for key, text := range have {
			all[c.backends[i].prefix+key] = text
		}
	}
	return all
}

// Differs returns the change to the boot configuration in config (by canonical variable), nil when nothing differs.
// refused holds the variables with invalid values and the reasons: a *view.FixedBootError for a key that must not be
// changed. Their current values stay. The error is for backends that cannot be read now. The change leaves refused
// values and these backends out (docs/spec/host.md 9, 14).
func (c *Config) Differs(config map[string]string) (all *settings.Boot, refused map[string]error, err error) {
	all, refused = &settings.Boot{Values: make(map[string]string)}, make(map[string]error)
	var writes []func() error
	for i := range c.backends {
		p := &c.backends[i]
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
		taken := c.unusedReason == nil || !settings.IsBoot(name)
		for i := range c.backends {
			taken = taken || c.backends[i].key(name) != ""
		}
		if !taken {
			refused[name] = c.unusedReason
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

// key is the backend's key for a variable, empty when it has none.
func (p *prefixed) key(name string) string {
	key, found := strings.CutPrefix(name, p.prefix)
	if !found && strings.EqualFold(name, settings.SplashImage) {
		key, found = name[len(p.prefix):], p.prefix == "HOST_SPLASH_"
	}
	if !found {
		return ""
	}
	return p.canonicalKey(key)
}

// wanted is the part of a configuration for a backend. If two names mean the same key, the first counts.
func (p *prefixed) wanted(config map[string]string) values {
	want := make(values)
	for _, name := range slices.Sorted(maps.Keys(config)) {
		key := p.key(name)
		if _, twice := want[key]; key != "" && !twice {
			want[key] = config[name]
		}
	}
	return want
}

// reason lists the changes with old and new values.
func (p *prefixed) reason(have, want values) (why string) {
	f, _ := p.backend.(*textFile)
	all := maps.Clone(map[string]string(want))
	maps.Copy(all, have)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		old, had := have[key]
		text, wanted := want[key]
		if (old != text || had != wanted) && (f == nil || !f.isFixed(key) && (wanted || !f.foreign)) {
			why += ", " + key + ": " + short(old) + " -> " + short(text)
		}
	}
	return why
}

// short is a value, cut to a length that people can read.
func short(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
