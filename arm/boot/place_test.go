package boot

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/update/view"
)

type fakePower struct{ says vars }

func (p *fakePower) Power() (map[string]string, error) { return p.says, nil }
func (p *fakePower) SetPower(want map[string]string) error {
	p.says = maps.Clone(vars(want))
	return nil
}

// cloud.md 6.2: the backends of each board.
func TestPlaces(t *testing.T) {
	f := func(slug, release string, files vars, want ...string) {
		t.Helper()
		_, dir := board(t, slug, files)
		c := New(Options{Dir: dir, Slug: slug, Release: release, Power: &fakePower{}})
		var got []string
		for _, p := range c.backends {
			switch p := p.backend.(type) {
			case *textFile:
				got = append(got, filepath.Base(p.path))
			case *orin:
				got = append(got, "orin")
			case *splash:
				got = append(got, "splash")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", slug, got, want)
		}
	}
	uEnv := vars{"extra_uEnv.txt": ""}
	for _, slug := range []string{"raspberrypi3", "raspberry-pi", "raspberrypi4-64", "fincm3", "rt-rpi-300", "243390-rpi3", "nebra-hnt", "revpi-connect",
		"revpi-connect-s", "revpi-core-3", "revpi-connect-4"} {
		f(slug, "", uEnv, "config.txt", "splash")
	}
	for _, slug := range []string{"jetson-nano", "jetson-nano-emmc", "jetson-nano-2gb-devkit", "jetson-tx2", "jetson-tx2-nx-devkit", "imx8mm-var-som", "imx8m-var-dart",
		"x-imx8mm-var-dart-y", "iot-gate-imx8plus", "iot-gate-imx8plus-d1d8"} {
		f(slug, "2.46.0", uEnv, "extra_uEnv.txt", "splash")
	}
	f("jetson-agx-orin-devkit", "", uEnv, "extra_uEnv.txt", "orin", "splash")
	f("jetson-orin-nx-seeed-j4012", "5.0.0", nil, "orin", "splash")
	f("jetson-orin-nano-devkit-nvme", "", uEnv, "extra_uEnv.txt", "orin", "splash")
	for release, old := range map[string]bool{"2.46.9+rev1": true, "1.99.0": true, "2.47.0": false, "2.100.0": false, "10.0.0": false, "": false, "x.y": false} {
		want := []string{"splash"}
		if old {
			want = []string{"extlinux.conf", "splash"}
		}
		f("jetson-xavier", release, nil, want...)
		f("jetson-tx2", release, nil, want...)
		f("beaglebone-black", release, uEnv, "splash")
	}
	f("up-board", "", nil, "splash")
	f("unknown", "", nil, "splash")
}

// rewrite applies variables to a file, and returns the new content and the error.
func rewrite(t *testing.T, slug, name, old string, set vars) (string, error) {
	t.Helper()
	c, dir := board(t, slug, vars{name: old})
	err := apply(c, set)
	if err == nil {
		if changes, _, err := c.Differs(set); changes != nil || err != nil {
			t.Errorf("%q is not read back: %v, %v", content(t, dir, name), changes, err)
		}
	}
	if changes := differs(t, c, c.Current()); changes != nil {
		t.Errorf("what %q says differs from it: %v", content(t, dir, name), changes)
	}
	return content(t, dir, name), err
}

// cloud.md 6.8: extra_uEnv.txt.
func TestExtraUEnv(t *testing.T) {
	const fdt, cpus = "HOST_EXTLINUX_fdt", "HOST_EXTLINUX_isolcpus"
	f := func(old string, set vars, want string) {
		t.Helper()
		if got, err := rewrite(t, "jetson-nano", "extra_uEnv.txt", old, set); err != nil || got != want {
			t.Errorf("%q becomes %q (%v), want %q", old, got, err, want)
		}
	}
	f("", nil, "")
	f("", vars{fdt: "a.dtb", cpus: "1,2"}, "custom_fdt_file=a.dtb\nextra_os_cmdline=isolcpus=1,2\n")
	f("custom_fdt_file=a.dtb\nextra_os_cmdline=isolcpus=1,2\n", vars{fdt: " a.dtb", cpus: "1,2"}, "custom_fdt_file=a.dtb\nextra_os_cmdline=isolcpus=1,2\n")
	f("custom_fdt_file=a.dtb\nextra_os_cmdline=isolcpus=1,2\n", nil, "")
	f("# x\nboot=1\ncustom_fdt_file=a.dtb\nother\nextra_os_cmdline=quiet isolcpus=1 debug\nend=2", vars{fdt: "b.dtb", cpus: "3"},
		"# x\nboot=1\ncustom_fdt_file=b.dtb\nother\nextra_os_cmdline=quiet debug isolcpus=3\nend=2\n")
	f("boot=1\nextra_os_cmdline=quiet  debug isolcpus=1\n", vars{fdt: ""}, "boot=1\nextra_os_cmdline=quiet debug\n")
	f("boot=1\nextra_os_cmdline=quiet  debug\n", vars{fdt: "a"}, "boot=1\nextra_os_cmdline=quiet  debug\ncustom_fdt_file=a\n")
	f("custom_fdt_file=a\ncustom_fdt_file=b\n", vars{fdt: "c"}, "custom_fdt_file=c\n")

	// host.md 9, 14: refused values stay, the others are written.
	refused := func(old, name, text, want string) {
		t.Helper()
		set := vars{fdt: "b", cpus: "1"}
		set[name] = text
		c, dir := board(t, "jetson-nano", vars{"extra_uEnv.txt": old})
		change, refused, err := c.Differs(set)
		fixed := (*view.FixedBootError)(nil)
		if why := refused[name]; change == nil || len(refused) != 1 || why == nil || err != nil || errors.As(why, &fixed) != (name != fdt && name != cpus) {
			t.Fatalf("%s=%q: %v, refused %v, %v", name, text, change, refused, err)
		}
		if err := change.Write(); err != nil || content(t, dir, "extra_uEnv.txt") != want {
			t.Errorf("%s=%q becomes %q (%v), want %q", name, text, content(t, dir, "extra_uEnv.txt"), err, want)
		}
		if change, _, err := c.Differs(set); change != nil || err != nil {
			t.Errorf("%s=%q is not read back: %v %v", name, text, change, err)
		}
	}
	refused("extra_os_cmdline=a\nextra_os_cmdline=b\n", cpus, "1", "extra_os_cmdline=a\nextra_os_cmdline=b\ncustom_fdt_file=b\n")
	refused("custom_fdt_file=a\n", "HOST_EXTLINUX_root", "x", "custom_fdt_file=b\nextra_os_cmdline=isolcpus=1\n")
	refused("custom_fdt_file=a\n", cpus, "1 init=/bin/sh", "custom_fdt_file=b\n")
	refused("custom_fdt_file=a\n", fdt, "a\nextra_os_cmdline=isolcpus=2", "custom_fdt_file=a\nextra_os_cmdline=isolcpus=1\n")
	if got, err := rewrite(t, "jetson-nano", "extra_uEnv.txt", "x=1\n", vars{"HOST_CONFIG_gpu_mem": "1", "HOST_ODMDATA_configuration": "2", "HOST_CONFIGFS_ssdt": "a"}); err != nil || got != "x=1\n" {
		t.Errorf("variables of other boards: %q, %v", got, err)
	}
}

// cloud.md 6.2: extlinux.conf of older systems.
func TestExtlinux(t *testing.T) {
	const fdt, cpus, name = "HOST_EXTLINUX_fdt", "HOST_EXTLINUX_isolcpus", "extlinux/extlinux.conf"
	const old = "DEFAULT primary\nTIMEOUT 30\n\nMENU TITLE boot\n\nLABEL other\n      FDT /x\n      APPEND isolcpus=9\n\nLABEL primary\n      MENU LABEL the kernel\n      LINUX /Image\n      APPEND ${cbootargs}  ro\n\nLABEL last\n      LINUX /y\n"
	f := func(old string, set vars, want string) {
		t.Helper()
		if got, err := rewrite(t, "jetson-xavier", name, old, set); err != nil || got != want {
			t.Errorf("%q becomes\n%s\n(%v), want\n%s", old, got, err, want)
		}
	}
	f(old, nil, old)
	set := strings.NewReplacer("${cbootargs}  ro\n", "${cbootargs} ro isolcpus=1,2\n", "LABEL primary\n", "LABEL primary\n      FDT /a.dtb\n").Replace(old)
	f(old, vars{fdt: "/a.dtb", cpus: "1,2"}, set)
	f(set, vars{fdt: "/b.dtb", cpus: "3"}, strings.NewReplacer("a.dtb", "b.dtb", "isolcpus=1,2", "isolcpus=3").Replace(set))
	f(set, nil, strings.Replace(old, "  ro", " ro", 1))
	f("label a\n\tkernel /k\n\nlabel b\n", vars{cpus: "1"}, "label a\n\tAPPEND isolcpus=1\n\tkernel /k\n\nlabel b\n")
	c, _ := board(t, "jetson-xavier", vars{name: "DEFAULT x\n"})
	if change, refused, err := c.Differs(vars{fdt: "a"}); change != nil || refused[fdt] == nil || err != nil {
		t.Errorf("without a label: %v, %v, %v", change, refused, err)
	}
	if _, err := rewrite(t, "jetson-xavier", "x", "", nil); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

// docs/spec/host.md 9, 6: leftovers of a power cut beside extlinux.conf are removed.
func TestExtlinuxLeftover(t *testing.T) {
	_, dir := board(t, "jetson-xavier", vars{"extlinux/extlinux.conf": "DEFAULT x\n", "extlinux/.resin-tmp-0011": "half"})
	if got := content(t, dir, "extlinux/.resin-tmp-0011"); got != "" {
		t.Errorf("the leftover has %q", got)
	}
	if got := content(t, dir, "extlinux/extlinux.conf"); got != "DEFAULT x\n" {
		t.Errorf("the file has %q", got)
	}
}

func FuzzKernelKeys(f *testing.F) {
	f.Add("custom_fdt_file=a\nextra_os_cmdline=b isolcpus=1\n", "x", "1 2")
	f.Add("0\t0", "0", "0")
	f.Add("DEFAULT a\nLABEL a\n FDT x\n APPEND isolcpus=1\n", "/y", "3")
	f.Fuzz(func(t *testing.T, text, fdt, cpus string) {
		for _, words := range []*kernelSyntax{uEnvSyntax, extlinuxSyntax} {
			file := textFile{path: filepath.Join(t.TempDir(), "f"), syntax: words}
			if err := os.WriteFile(file.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			said, err := file.read()
			if c, errs := file.change(said); err != nil || errs != nil || c.write != nil || len(c.refused) > 0 {
				t.Fatalf("%q differs from what it says, %q: %v %v %v", text, said, err, errs, c.refused)
			}
			all := words.parse(text)
			if again := words.parse(words.render(text, all)); !maps.Equal(again, all) {
				t.Fatalf("%q says %q; written again it says %q", text, all, again)
			}
			want := values{deviceTree: fdt, isolated: cpus}
			c, err := file.change(want)
			if err != nil {
				t.Fatalf("%q with %q: %v", text, want, err)
			}
			if c.write == nil {
				continue
			}
			if err := c.write(); err != nil {
				t.Fatal(err)
			}
			if again, err := file.change(want); again.write != nil || err != nil {
				t.Fatalf("%q with %q does not come back: %v, refused %v, then %v", text, want, err, c.refused, again.refused)
			}
		}
	})
}

// cloud.md 6.2: power and fan of an Orin.
func TestOrin(t *testing.T) {
	p := &fakePower{}
	c := New(Options{Dir: t.TempDir(), Slug: "jetson-agx-orin-devkit", Power: p})
	const mode, fan = "HOST_CONFIG_power_mode", "HOST_CONFIG_fan_profile"
	f := func(set vars, changes, reboot bool) {
		t.Helper()
		change := differs(t, c, set)
		if (change != nil) != changes || changes && change.Reboot != reboot {
			t.Errorf("%v: %+v", set, change)
		}
		if err := apply(c, set); err != nil || p.says["power_mode"] != set[mode] || p.says["fan_profile"] != set[fan] {
			t.Errorf("%v: %v, %v", set, p.says, err)
		}
		if !maps.Equal(vars(c.Current()), set) {
			t.Errorf("%v is %v", set, c.Current())
		}
	}
	f(vars{}, false, false)
	f(vars{mode: "high", fan: "cool"}, true, true)
	f(vars{mode: "high", fan: "quiet"}, true, false)
	f(vars{mode: "low", fan: "quiet"}, true, true)
	f(vars{mode: "low", fan: "quiet"}, false, false)
	f(vars{fan: "default"}, true, true)
	f(vars{}, true, false)
	// Any text is a valid profile, also an empty one (docs/spec/host.md 4).
	f(vars{mode: "custom", fan: ""}, true, true)
	f(vars{mode: "custom", fan: ""}, false, false)
	f(vars{mode: "2", fan: " \"a\n\u00e9<"}, true, true)
	f(vars{mode: "2"}, true, false)
	if change := differs(t, c, vars{mode: ""}); change == nil || !change.Reboot || change.Write() != nil || len(p.says) > 0 {
		t.Errorf("an empty mode: %v, %v", change, p.says)
	}
}

func picture(t *testing.T, shade uint8) []byte {
	t.Helper()
	var out bytes.Buffer
	i := image.NewGray(image.Rect(0, 0, 3, 2))
	i.Set(1, 1, color.Gray{shade})
	if err := png.Encode(&out, i); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// cloud.md 6.9: the splash image.
func TestSplash(t *testing.T) {
	own, mine, other := picture(t, 1), picture(t, 2), picture(t, 3)
	coded := base64.StdEncoding.EncodeToString
	const variable, copied = "HOST_SPLASH_image", "splash/balena-logo-default.png"
	for _, name := range []string{"splash/balena-logo.png", "splash/resin-logo.png"} {
		c, dir := board(t, "beaglebone-black", vars{name: string(own)})
		f := func(set vars, changes bool, want []byte, current string) {
			t.Helper()
			got := differs(t, c, set)
			if (got != nil) != changes || changes && !got.Reboot {
				t.Errorf("%v: %v %v", set, got, changes)
			}
			if err := apply(c, set); err != nil || content(t, dir, name) != string(want) {
				t.Errorf("%v: %v", set, err)
			}
			if current != "" {
				current = "data:image/png;base64," + current
			}
			if got := c.Current()[variable]; got != current {
				t.Errorf("%v is %q, want %q", set, got, current)
			}
			for _, set := range []map[string]string{set, c.Current()} {
				if got := differs(t, c, set); got != nil {
					t.Errorf("%v is not read back: %v", set, got)
				}
			}
		}
		f(nil, false, own, "")
		f(vars{variable: ""}, false, own, "")
		f(vars{variable: coded(own)}, false, own, "")
		if content(t, dir, copied) != "" {
			t.Error("copied before it was used")
		}
		f(vars{variable: coded(mine)}, true, mine, coded(mine))
		if content(t, dir, copied) != string(own) {
			t.Error("the system's own image is not kept")
		}
		f(vars{"HOST_SPLASH_IMAGE": "data:image/png;base64," + coded(other)}, true, other, coded(other))
		f(vars{"host_splash_image": strings.TrimRight(coded(mine), "=") + "\n"}, true, mine, coded(mine))
		for _, same := range []string{coded(mine), "data:image/png;charset=x;base64,", "Data:image/PNG;Base64,", "data:image/png;a=b; c=d;base64,"} {
			f(vars{variable: strings.TrimSuffix(same, coded(mine)) + coded(mine)}, false, mine, coded(mine))
		}
		f(vars{variable: "data:image/png;charset=x;base64," + coded(other)}, true, other, coded(other))
		for _, odd := range []string{"x", "!!", coded([]byte("GIF89a")), coded(mine[:30]), coded(append(slices.Clone(mine[:16]), make([]byte, 40)...)),
			"data:image/gif;base64," + coded(mine), "data:image/png," + coded(mine), "data:image/png;base64;x=y," + coded(mine), "data:image/pngs;base64," + coded(mine), ";base64," + coded(mine)} {
			if change, refused, err := c.Differs(vars{variable: odd}); change != nil || refused[variable] == nil || err != nil || content(t, dir, name) != string(other) {
				t.Errorf("%s: %v, %v, %v", odd, change, refused, err)
			}
		}
		f(nil, true, own, "")
	}
	c, dir := board(t, "beaglebone-black", nil)
	if err := apply(c, vars{variable: coded(mine)}); err != nil || content(t, dir, "splash") != "" {
		t.Errorf("a board without an image: %v", err)
	}
	// The newer name counts.
	c, dir = board(t, "x", vars{"splash/balena-logo.png": string(own), "splash/resin-logo.png": string(own), "splash/balena-logo-default.png": string(other)})
	if c.Current()[variable] != "data:image/png;base64,"+coded(own) {
		t.Errorf("current: %v", c.Current())
	}
	if err := apply(c, nil); err != nil || content(t, dir, "splash/balena-logo.png") != string(other) || content(t, dir, "splash/resin-logo.png") != string(own) {
		t.Errorf("reset: %v", err)
	}
}
