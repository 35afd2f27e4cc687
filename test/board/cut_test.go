package board_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// scene is what led to power cuts, and what has to be on the disk after each of them.
type scene struct {
	name  string
	disks [][]byte
	hold  func(t *testing.T, found []image)
}

// docs/spec/host.md 9, 5 and 6: whenever the power is cut, each file on the boot partition is the old or the
// new one, whole, also when the next boot removes what was left and writes to all that is free.
func TestPowerCuts(t *testing.T) {
	scenes := []scene{steps(t), leftover(t), answered(t)}
	var all [][]byte
	for _, s := range scenes {
		all = append(all, s.disks...)
	}
	found := look(t, all)
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) { s.hold(t, found[:len(s.disks)]) })
		found = found[len(s.disks):]
	}
}

// record formats a disk with these files, and gives the disk as it is and an empty log for it.
func record(t *testing.T, files map[string]string) (disk, log string, before []byte) {
	t.Helper()
	disk = format(t, files)
	before, err := os.ReadFile(disk)
	must(t, err)
	log = filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(log, nil, 0o644))
	return disk, log, before
}

// steps cuts the power after each sector that is written while a leftover is removed and files are made,
// replaced, set aside and removed.
func steps(t *testing.T) scene {
	disk, log, before := record(t, map[string]string{".resin-tmp-0011223344556677": strings.Repeat("half ", 300)})
	b := virt.start(t, "task=files", [][2]string{{disk, log}}, nil)
	versions := map[string][]string{}
	for _, line := range b.until("done") {
		if f := strings.Fields(line); f[0] == "becomes" {
			if versions[f[1]] == nil {
				versions[f[1]] = []string{"absent"}
			}
			versions[f[1]] = append(versions[f[1]], f[2])
		}
	}
	b.cut()
	return scene{"each step", cuts(before, writes(t, log)), func(t *testing.T, found []image) {
		if len(found) < 50 {
			t.Errorf("only %d cuts", len(found))
		}
		for i, files := range found {
			files.same(t, i)
			for name, list := range versions {
				got, last := files.cut.of(name).sum, list[len(list)-1]
				if !slices.Contains(list, got) {
					t.Errorf("cut %d: %s is %s, want one of %v", i, name, got, list)
				}
				if i == len(found)-1 && got != last {
					t.Errorf("%s is %s in the end, want %s", name, got, last)
				}
			}
		}
	}}
}

// leftover is a disk on which a temporary file leads to the clusters of a file.
func leftover(t *testing.T) scene {
	text := strings.Repeat("identity ", 200)
	files := map[string]string{"config.json": text, "other.conf": "other", ".resin-tmp-0011223344556677": text, ".resin-tmp-8899aabbccddeeff": "half"}
	disk, err := os.ReadFile(format(t, files))
	must(t, err)
	share(t, disk, "CONFIG~1JSO", "RESIN-~1   ")
	return scene{"leftover that shares clusters", [][]byte{disk}, func(t *testing.T, found []image) {
		if len(found[0].cut) != len(files)-1 { // without ballast
			t.Errorf("the disk has %v", found[0].cut)
		}
		found[0].same(t, 0)
		for name := range found[0].later {
			if strings.HasPrefix(name, ".resin-tmp-") {
				t.Errorf("%s is still there", name)
			}
		}
	}}
}

// answered cuts the power right after our program answered that it changed the host's configuration, and
// at each step on the way there.
func answered(t *testing.T) scene {
	const uuid = "0123456789abcdef0123456789abcdef"
	disk, log, before := record(t, map[string]string{"config.json": `{"uuid":"` + uuid + `","hostname":"before"}`,
		"system-proxy/redsocks.conf.ignore": "sample"})
	b := virt.start(t, "task=product changes=first,proxy,other,second", [][2]string{{disk, log}}, nil)
	for _, change := range []string{"first", "proxy", "other", "second"} {
		said := b.until("answered")
		if got := said[len(said)-1]; got != "answered "+change+" 200" {
			t.Fatal(got)
		}
	}
	b.cut()
	return scene{"after the answer", cuts(before, writes(t, log)), func(t *testing.T, found []image) {
		for i, files := range found {
			files.same(t, i)
			var config struct{ UUID, Hostname string }
			text := files.cut.of("config.json").text
			if err := json.Unmarshal([]byte(text), &config); err != nil || config.UUID != uuid || !slices.Contains([]string{"before", "first", "second"}, config.Hostname) {
				t.Errorf("cut %d: config.json is %q", i, text)
			}
			proxy, direct := files.cut.of("system-proxy/redsocks.conf"), files.cut.of("system-proxy/no_proxy")
			if proxy.sum != "absent" && !strings.Contains(proxy.text, "10.0.0.1") && !strings.Contains(proxy.text, "10.0.0.2") {
				t.Errorf("cut %d: redsocks.conf is %q", i, proxy.text)
			}
			if !slices.Contains([]string{"", "10.1.1.1\n", "10.2.2.2\n10.3.3.3\n"}, direct.text) {
				t.Errorf("cut %d: no_proxy is %q", i, direct.text)
			}
			if i == len(found)-1 && (config.Hostname != "second" || !strings.Contains(proxy.text, "10.0.0.2") || direct.text != "10.2.2.2\n10.3.3.3\n") {
				t.Errorf("after the last answer there are %q, %q and %q", text, proxy.text, direct.text)
			}
		}
	}}
}

// The program for ARMv6 starts on the processor of a Pi Zero and changes what is on a boot partition.
func TestPiZero(t *testing.T) {
	disk := format(t, map[string]string{"config.json": "{}"})
	b := zero.start(t, "task=product image=/boot.img changes=first", nil, map[string]string{"boot.img": disk})
	if said := b.until("answered"); said[len(said)-1] != "answered first 200" {
		t.Errorf("the board said %q", said)
	}
}

// content is what a file has, as a sum and, when it is short, as text.
type content struct{ sum, text string }

// contents are those of files, by name.
type contents map[string]content

func (c contents) of(name string) content {
	if found, ok := c[name]; ok {
		return found
	}
	return content{sum: "absent"}
}

// image is what was found on a disk: after the cut, and when the next boot wrote to all that was free.
type image struct{ cut, later contents }

// same wants all files, but for temporary ones, to be later what they were after the cut.
func (f image) same(t *testing.T, number int) {
	t.Helper()
	for name, was := range f.cut {
		if now := f.later.of(name); now != was && !strings.Contains(name, ".resin-tmp-") {
			t.Errorf("cut %d: %s was %v and is %v when the disk is full", number, name, was, now)
		}
	}
}

// look boots a board that looks at disks and writes to them.
func look(t *testing.T, all [][]byte) []image {
	t.Helper()
	path, words := join(t, all)
	b := virt.start(t, "task=check "+words, [][2]string{{path, ""}}, nil)
	found := make([]image, len(all))
	for i := range found {
		found[i].cut, found[i].later = b.contents(), b.contents()
	}
	b.until("done")
	return found
}

// contents are the files that the board lists.
func (b *board) contents() contents {
	b.t.Helper()
	c := contents{}
	for _, line := range b.until("listed") {
		f := append(strings.Fields(line), "")
		switch f[0] {
		case "trouble":
			b.t.Error(line)
		case "file":
			text, err := base64.StdEncoding.DecodeString(f[5])
			must(b.t, err)
			c[f[3]] = content{f[4], string(text)}
		}
	}
	return c
}
