package boot

import (
	"encoding/base64"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/update/settings"
	"resin-supervisor/update/view"
)

type vars map[string]string

// host adds the prefix of config.txt to variables.
func host(of vars) map[string]string {
	all := make(map[string]string)
	for key, text := range of {
		all["HOST_CONFIG_"+key] = text
	}
	return all
}

// board is a board with files on its boot partition.
func board(t *testing.T, slug string, files vars) (*Config, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Dir: dir, Slug: slug, Release: "2.46.1+rev1", Power: &fakePower{}}), dir
}

// apply changes the boot configuration to a configuration.
func apply(c *Config, config map[string]string) error {
	change, _, err := c.Differs(config)
	if err != nil || change == nil {
		return err
	}
	return change.Write()
}

// differs is the change for a configuration of which nothing is refused.
func differs(t *testing.T, c *Config, config map[string]string) *settings.Boot {
	t.Helper()
	change, refused, err := c.Differs(config)
	if len(refused) > 0 || err != nil {
		t.Errorf("%v is refused: %v, %v", config, refused, err)
	}
	return change
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

// cloud.md 85: the values that are read from config.txt.
func TestReadConfigTxt(t *testing.T) {
	f := func(text string, want vars) {
		t.Helper()
		c, _ := board(t, "raspberrypi3", vars{"config.txt": text})
		if got := c.Current(); !maps.Equal(got, host(want)) {
			t.Errorf("%q\nis   %q\nwant %q", text, got, host(want))
		}
	}
	f("", vars{})
	f("\n  \n# gpu_mem=16\n   # x=1\nrubbish\ninclude more.txt\n=1\nsome words=1\na-b=1\n", vars{})
	f("gpu_mem=16\nhdmi_mode:1=4\nempty=\nspaced = a b \nlast=1", vars{"gpu_mem": "16", "hdmi_mode:1": "4", "empty": "", "spaced": "a b", "last": "1"})
	f("gpu_mem=16\r\ntwo=a=b\r\n", vars{"gpu_mem": "16", "two": "a=b"})
	f("gpu_mem=16\ngpu_mem=32\n", vars{"gpu_mem": "32"})
	f("initramfs initrd.img followkernel\nkernel=k.img\n", vars{"initramfs": "initrd.img followkernel", "kernel": "k.img"})
	f("dtparam=i2c_arm=on\ndtparam=spi=on,audio=on\n", vars{"dtparam": `"i2c_arm=on","spi=on","audio=on"`})
	f("dtparam=spi=on\ndtparam=spi=off\n", vars{"dtparam": `"spi=off"`})
	f("dtparam=i2c_arm=on\ndtoverlay=ads7846,penirq=22\ndtparam=speed=1\ndtparam=spi=on,swapxy=1\ndtoverlay=\ndtparam=act_led=x\n",
		vars{"dtparam": `"i2c_arm=on","spi=on","act_led=x"`, "dtoverlay": `"ads7846,penirq=22,speed=1,swapxy=1"`})
	f("dtoverlay=w1-gpio,gpiopin=4\ndtoverlay=w1-gpio,gpiopin=5\ndtoverlay=lirc-rpi:gpio=1\n", vars{"dtoverlay": `"w1-gpio,gpiopin=4","w1-gpio,gpiopin=5","lirc-rpi:gpio=1"`})
	f("dtoverlay=vc4-kms-v3d,cma=64,audio=off\n", vars{"dtoverlay": `"vc4-kms-v3d,audio=off,cma=64"`})
	f("gpio=0-27=a2\ngpio=4=op\ndevice_tree_param=x=1\ndevice_tree_overlay=a.dtb\n",
		vars{"gpio": `"0-27=a2","4=op"`, "device_tree_param": `"x=1"`, "device_tree_overlay": `"a.dtb"`})
	f("power_mode=high\nfan_profile=cool\n", vars{}) // those of an Orin
	// Of sections only those for every board count.
	f("gpu_mem=16\n[pi4]\ngpu_mem=64\narm_boost=1\ndtoverlay=x\n[all]\ndtparam=y=1\n[none]\nz=1\n[ ALL ]\nlast=1\n",
		vars{"gpu_mem": "16", "dtparam": `"y=1"`, "last": "1"})
	f("[pi4\ngpu_mem=64\n", vars{})
}

// cloud.md 85: the lines that are written for variables, and that they are read back as the same values.
func TestWriteConfigTxt(t *testing.T) {
	f := func(old string, set vars, want string) {
		t.Helper()
		c, dir := board(t, "raspberrypi3", vars{"config.txt": old})
		changes := differs(t, c, host(set))
		if (changes != nil) != (old != want) || (changes != nil && changes.Reboot) != (old != want) {
			t.Errorf("%q: changes %v", old, changes)
		}
		if err := apply(c, host(set)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, dir, "config.txt"); got != want {
			t.Errorf("%q becomes\n%s\nwant\n%s", old, got, want)
		}
		if changes := differs(t, c, host(set)); changes != nil {
			t.Errorf("%q is not read back: %v", want, changes)
		}
		if changes := differs(t, c, c.Current()); changes != nil {
			t.Errorf("%q: what it says differs from it: %v", want, changes)
		}
	}
	f("", nil, "")
	f("", vars{"gpu_mem": "16", "a": "", "hdmi_mode:1": " 4 "}, "a=\ngpu_mem=16\nhdmi_mode:1=4\n")
	f("gpu_mem=16\n", nil, "")
	f("gpu_mem=16\nx=1\n", vars{"gpu_mem": "32", "x": "1", "b": "2"}, "gpu_mem=32\nx=1\nb=2\n")
	f("gpu_mem=16\ny=1\ngpu_mem=32\n", vars{"gpu_mem": "64", "y": "1"}, "y=1\ngpu_mem=64\n")
	f("\n\ngpu_mem=16\n\n", vars{"gpu_mem": "32"}, "gpu_mem=32\n")
	// Another spelling of the same value is no change.
	for _, same := range []string{`"i2c_arm=on","spi=on"`, ` "spi=on", "i2c_arm=on" `, `i2c_arm=on,spi=on`, `"i2c_arm=on","spi=off","spi=on"`, `"spi=on,i2c_arm=on"`} {
		f("dtparam=i2c_arm=on\ndtparam=spi=on\n", vars{"dtparam": same}, "dtparam=i2c_arm=on\ndtparam=spi=on\n")
		f("dtparam=i2c_arm=on,spi=on\n\n", vars{"dtparam": same}, "dtparam=i2c_arm=on,spi=on\n\n")
	}
	f("gpu_mem=16\n", vars{"gpu_mem": " 16"}, "gpu_mem=16\n")
	f("", vars{"dtparam": `"i2c_arm=on","spi=on"`, "dtoverlay": `"ads7846,penirq=22,speed=1","spi1"`, "gpio": ` 4=op `},
		"gpio=4=op\ndtparam=i2c_arm=on\ndtparam=spi=on\ndtoverlay=ads7846\ndtparam=penirq=22\ndtparam=speed=1\ndtoverlay=spi1\n")
	f("dtparam=spi=on\ndtoverlay=x\ndtparam=p=1\ngpu_mem=16\n", vars{"dtparam": "spi=off", "dtoverlay": "x,p=1", "gpu_mem": "16"},
		"gpu_mem=16\ndtparam=spi=off\ndtoverlay=x\ndtparam=p=1\n")
	f("dtoverlay=x\ndtparam=act_led=1\n", vars{"dtoverlay": "x", "dtparam": "act_led=1"}, "dtparam=act_led=1\ndtoverlay=x\n")
	f("", vars{"dtoverlay": "vc4-kms-v3d,cma=64,audio=off"}, "dtoverlay=vc4-kms-v3d,audio=off\ndtparam=cma=64\n")
	f("dtoverlay=a\n", vars{"dtoverlay": `""`, "gpio": ""}, "")
	f("gpio=\nx=1\n", vars{"gpio": `"4=op","5=op"`, "x": "1"}, "gpio=4=op\ngpio=5=op\nx=1\n")
	f("dtoverlay=a\ndtoverlay=b\n", vars{"dtoverlay": `"b","a"`}, "dtoverlay=b\ndtoverlay=a\n")
	f("power_mode=x\nb=1\n", vars{"power_mode": "high"}, "power_mode=x\n")
	// Comments, other lines and fixed keys stay.
	f("# the screen\ngpu_mem=16\nkernel=k.img\n\ninitramfs i.img followkernel\ninclude more.txt\n#end\n", vars{"gpu_mem": "32"},
		"# the screen\ngpu_mem=32\nkernel=k.img\ninitramfs i.img followkernel\ninclude more.txt\n#end\n")
	f("kernel=k.img\ngpu_mem=16\n", vars{"kernel": "k.img", "gpu_mem": "16"}, "kernel=k.img\ngpu_mem=16\n")
	// Sections stay word for word, and so do unchanged lines outside of them.
	const sections = "# top\ngpu_mem=16\n\ndtoverlay=a,p=1\n[pi4]\n  gpu_mem = 64\ndtoverlay=y\n\n[all]\nx=1\n"
	f(sections, vars{"gpu_mem": "16", "dtoverlay": "a,p=1", "x": "1"}, sections)
	f(sections, vars{"gpu_mem": "32", "dtoverlay": "a,p=1", "new": "1"}, strings.Replace(sections, "=16", "=32", 1)[:len(sections)-4]+"new=1\n")
	f(sections, vars{"gpu_mem": "16", "x": "1", "dtoverlay": `"b","c,q=1"`, "dtparam": "spi=on"},
		"# top\ngpu_mem=16\n\n[pi4]\n  gpu_mem = 64\ndtoverlay=y\n\n[all]\nx=1\ndtoverlay=\ndtparam=spi=on\ndtoverlay=b\ndtoverlay=c\ndtparam=q=1\n")
	f("a=1\n[pi4]\nb=1\n", vars{"c": "1"}, "c=1\n[pi4]\nb=1\n")
	f("[pi4]\nb=1\n", vars{"b": "2"}, "b=2\n[pi4]\nb=1\n")
	f("[pi4]\nb=1\n", nil, "[pi4]\nb=1\n")
}

// docs/spec/host.md 5: config.txt of a system that is not balenaOS changes only in the keys that a configuration names.
func TestConfigTxtOfAnotherSystem(t *testing.T) {
	const stock = "# For more options see the manual\ndtparam=audio=on\ncamera_auto_detect=1\ndtoverlay=vc4-kms-v3d\nmax_framebuffers=2\n" +
		"auto_initramfs=1\narm_64bit=1\n\n[cm4]\notg_mode=1\n\n[all]\n"
	f := func(set vars, why, want string) {
		t.Helper()
		_, dir := board(t, "raspberrypi4-64", vars{"config.txt": stock})
		c := New(Options{Dir: dir, Slug: "raspberrypi4-64", FromTree: true})
		change, _, err := c.Differs(host(set))
		if (change != nil) != (want != stock) || change != nil && (change.Why != why || len(change.Values) != len(set)) || err != nil {
			t.Fatalf("%v: %+v, %v", set, change, err)
		}
		if change != nil {
			if err := change.Write(); err != nil {
				t.Fatal(err)
			}
		}
		if got := content(t, dir, "config.txt"); got != want {
			t.Errorf("%v makes it\n%s\nwant\n%s", set, got, want)
		}
		if change, _, err := c.Differs(host(set)); change != nil || err != nil {
			t.Errorf("%v is not read back: %+v, %v", set, change, err)
		}
		if change, _, err := c.Differs(nil); change != nil || err != nil {
			t.Errorf("%v: what is named no more: %+v, %v", set, change, err)
		}
	}
	f(nil, "", stock)
	f(vars{"arm_64bit": "1"}, "", stock)
	f(vars{"kernel": "x.img", "gpu_mem": "1\n2"}, "", stock) // refused
	f(vars{"arm_64bit": "0", "gpu_mem": "16"}, "boot configuration, arm_64bit: 1 -> 0, gpu_mem:  -> 16", strings.Replace(stock, "64bit=1", "64bit=0", 1)+"gpu_mem=16\n")
	f(vars{"dtparam": `"audio=on","spi=on"`}, `boot configuration, dtparam: "audio=on" -> "audio=on","spi=on"`,
		strings.NewReplacer("dtparam=audio=on\n", "", "dtoverlay=vc4-kms-v3d\n", "").Replace(stock)+"dtoverlay=\ndtparam=audio=on\ndtparam=spi=on\ndtoverlay=vc4-kms-v3d\n")

	_, dir := board(t, "raspberrypi4-64", vars{"config.txt/x": ""}) // which cannot be read
	if change, refused, err := New(Options{Dir: dir, Slug: "raspberrypi4-64", FromTree: true}).Differs(nil); change != nil || len(refused) > 0 || err != nil {
		t.Errorf("a file of which nothing is wanted: %+v, %v, %v", change, refused, err)
	}
}

// cloud.md 85, host.md 9, 14: fixed keys, and values that could not be read back, are refused and stay as they are. The
// others are written.
func TestRefused(t *testing.T) {
	const old = "# x\ngpu_mem=16\nkernel=k.img\ninitramfs a b\n"
	f := func(key, text string) {
		t.Helper()
		c, dir := board(t, "raspberrypi3", vars{"config.txt": old})
		set := host(vars{key: text, "other": "1", "gpio": "4=op"})
		if key != "gpu_mem" {
			set["HOST_CONFIG_gpu_mem"] = "16"
		}
		for _, first := range []bool{true, false} {
			change, refused, err := c.Differs(set)
			fixed := (*view.FixedBootError)(nil)
			if why := refused["HOST_CONFIG_"+key]; (change != nil) != first || len(refused) != 1 || why == nil || err != nil || errors.As(why, &fixed) != slices.Contains(fixedKeys, key) {
				t.Fatalf("%s=%q: change %v, refused %v, %v", key, text, change, refused, err)
			} else if fixed != nil && why.Error() != "Attempt to change blacklisted config value "+key {
				t.Errorf("%s=%q: %v", key, text, why)
			}
			if !first {
				break
			}
			if change.Why != "boot configuration, gpio:  -> 4=op, other:  -> 1" || len(change.Values[key]) > 0 || !change.Reboot {
				t.Errorf("%s=%q: %+v", key, text, change)
			}
			if err := change.Write(); err != nil {
				t.Fatal(err)
			}
		}
		if got := content(t, dir, "config.txt"); got != old+"gpio=4=op\nother=1\n" {
			t.Errorf("%s=%q: written is\n%s", key, text, got)
		}
	}
	for _, key := range fixedKeys {
		f(key, "other")
		f(key, "")
	}
	f("gpu_mem", "1\nkernel=evil")
	f("gpu_mem", "1\nother=evil")
	f("x", "1\r"+"\n#")
	f("x", "1\ngpu_mem=32")
	f("[y", "]")
	f("#x", "1")
	f("x=y", "1")
	f(" x", "1")
	f("dtoverlay", `"a`)
	f("dtoverlay", "\"a\\nkernel=b\"")
	f("dtparam", `"a",1`)
}

// host.md 9, 14: a file that cannot be read or written does not keep other files from being written.
func TestOtherPlaces(t *testing.T) {
	own, mine := picture(t, 1), picture(t, 2)
	set := vars{"HOST_CONFIG_gpu_mem": "16", "HOST_SPLASH_image": base64.StdEncoding.EncodeToString(mine)}
	c, dir := board(t, "raspberrypi3", vars{"config.txt/x": "", "splash/balena-logo.png": string(own)})
	change, refused, err := c.Differs(set)
	if change == nil || len(refused) > 0 || err == nil || change.Write() != nil || content(t, dir, "splash/balena-logo.png") != string(mine) {
		t.Errorf("%v, %v, %v", change, refused, err)
	}
	if change, _, err := c.Differs(set); change != nil || err == nil {
		t.Errorf("after it was written: %v, %v", change, err)
	}
	c, dir = board(t, "raspberrypi3", vars{"splash/balena-logo.png": string(own)})
	change = differs(t, c, set)
	if err := os.Mkdir(filepath.Join(dir, "config.txt"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := change.Write(); err == nil || content(t, dir, "splash/balena-logo.png") != string(mine) {
		t.Errorf("written beside a failure: %v", err)
	}
}

// The board has its own overlay, which cannot be removed. Its position among the others has no meaning
// (docs/spec/host.md 5).
func TestFin(t *testing.T) {
	f := func(old string, set vars, want string) {
		t.Helper()
		c, dir := board(t, "fincm3", vars{"config.txt": old})
		change := differs(t, c, host(set))
		if (change != nil) != (old != want) {
			t.Errorf("%q with %v: %v", old, set, change)
		}
		if err := apply(c, host(set)); err != nil || content(t, dir, "config.txt") != want {
			t.Errorf("%q with %v becomes %q (%v), want %q", old, set, content(t, dir, "config.txt"), err, want)
		}
		for _, set := range []map[string]string{host(set), c.Current()} {
			if change := differs(t, c, set); change != nil {
				t.Errorf("%q with %v: %v", want, set, change)
			}
		}
		if got := c.Current()["HOST_CONFIG_dtoverlay"]; got == `"balena-fin"` {
			t.Errorf("%q says %s", want, got)
		}
	}
	const both, reverse = "dtoverlay=test\ndtoverlay=balena-fin\n", "dtoverlay=balena-fin\ndtoverlay=test\n"
	test := vars{"dtoverlay": "test"}
	f("gpu_mem=16\n", vars{"gpu_mem": "16"}, "gpu_mem=16\ndtoverlay=balena-fin\n")
	for _, set := range []vars{test, {"dtoverlay": `"test","balena-fin"`}, {"dtoverlay": `"balena-fin","test"`}} {
		f(both, set, both)
		f(reverse, set, reverse)
	}
	f("", test, both)
	f("dtoverlay=test\n", test, both)
	f("dtoverlay=balena-fin\n", nil, "dtoverlay=balena-fin\n")
	f(both, nil, "dtoverlay=balena-fin\n")
	f("dtoverlay=a\n"+both, vars{"dtoverlay": `"test","a"`}, "dtoverlay=test\ndtoverlay=a\ndtoverlay=balena-fin\n")
	f(both, vars{"dtoverlay": `"balena-fin,x=1","test"`}, "dtoverlay=balena-fin\ndtparam=x=1\ndtoverlay=test\n")
	f("dtoverlay=balena-fin\ndtparam=x=1\ndtoverlay=test\n", test, both)
	f("[pi3]\nx=1\n[all]\n"+reverse, test, "[pi3]\nx=1\n[all]\n"+reverse)
	c, dir := board(t, "fincm3", vars{"config.txt": reverse})
	if change, refused, err := c.Differs(host(vars{"dtoverlay": `"a`, "gpu_mem": "16"})); change == nil || len(refused) != 1 || err != nil || change.Write() != nil || content(t, dir, "config.txt") != "gpu_mem=16\n"+reverse {
		t.Errorf("%v %v %v: %s", change, refused, err, content(t, dir, "config.txt"))
	}
}

// Equal content is not written again, and a file that cannot be read is not replaced.
func TestNoWrite(t *testing.T) {
	c, dir := board(t, "raspberrypi3", vars{"config.txt": "gpu_mem=16\n"})
	before, _ := os.Stat(filepath.Join(dir, "config.txt"))
	if err := apply(c, host(vars{"gpu_mem": "16"})); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(filepath.Join(dir, "config.txt")); !os.SameFile(before, after) {
		t.Error("the file was written")
	}
	c, dir = board(t, "raspberrypi3", vars{"config.txt/x": ""})
	if _, _, err := c.Differs(nil); err == nil || len(c.Current()) > 0 {
		t.Errorf("a directory is no file: %v", err)
	}
	if apply(c, nil) == nil {
		t.Error("it was replaced")
	}
}

// For any file and variables: the written file has the wanted values and every line that is not managed, or the values
// are refused.
func FuzzConfigTxt(f *testing.F) {
	f.Add("gpu_mem=16\n# c\n[pi4]\nx=1\n[all]\ndtoverlay=a,b=1\ndtparam=c=1,spi=on\n", "dtparam", `"i2c=on"`, "gpu_mem", "32")
	f.Add("dtoverlay=a\ndtparam=spi=on\ndtparam=q\n", "dtoverlay", `"a,b","a,spi=on"`, "gpio", "1=op")
	f.Add("dtparam=\xa8\nx=\xff\xfe\n", "x", "\uFFFD", "dtparam", "y")
	f.Add("[all]\n[x\n\r\ninitramfs a\n=", "x", "]", "[", "1")
	f.Add("0\r", "x", "1", "y", "2")
	f.Add("\r", "x", "1", "y", "2")
	f.Add("a=1\r\r\nb=2\r\n\r", "x", "1", "y", "2")
	f.Fuzz(func(t *testing.T, text, key1, text1, key2, text2 string) {
		for _, fin := range []bool{false, true} {
			file := textFile{path: filepath.Join(t.TempDir(), "config.txt"), isFin: fin}
			if err := os.WriteFile(file.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			said, err := file.read()
			if err != nil {
				t.Fatal(err)
			}
			if c, err := file.change(said); err != nil || len(c.refused) > 0 || c.write != nil && !fin {
				t.Fatalf("%q differs from what it says, %q: %v %v", text, said, c.refused, err)
			}
			all := parseConfig(text)
			written := file.renderConfig(text, all)
			if again := parseConfig(written); file.firstDifference(again, all)+file.firstDifference(all, again) != "" {
				t.Fatalf("%q says %q; written as %q it says %q", text, all, written, again)
			}
			if twice := file.renderConfig(written, all); twice != written {
				t.Fatalf("%q is written as %q, and then as %q", text, written, twice)
			}
			want := values{key1: text1, key2: text2}
			delete(want, "")
			delete(want, powerMode)
			delete(want, fanProfile)
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
			after, _ := file.readText()
			again, err := file.change(want)
			if again.write != nil || err != nil || len(again.refused) != len(c.refused) {
				t.Fatalf("%q with %q becomes %q, which differs: %v %v %v", text, want, after, err, c.refused, again.refused)
			}
			for key := range want {
				if alone, _ := file.change(values{key: want[key]}); (c.refused[key] == nil) != (alone.refused[key] == nil) {
					t.Fatalf("%q with %q: %v; alone %v", text, want, c.refused, alone.refused)
				}
			}
			if a, b := unmanaged(text), unmanaged(after); a != b {
				t.Fatalf("%q with %q becomes %q:\n%s\nbecame\n%s", text, want, after, a, b)
			}
		}
	})
}

// unmanaged lists the lines of a file that must stay.
func unmanaged(text string) string {
	var out []string
	var f textFile
	list, _, _ := parseLines(text)
	for _, r := range list {
		if (r.key == "" || f.isFixed(r.key) || f.canonicalKey(r.key) == "") && strings.TrimSpace(r.text) != "" {
			out = append(out, r.text)
		}
	}
	return strings.Join(out, "\n")
}
