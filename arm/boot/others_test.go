//go:build !arm

package boot

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// tree makes files below a directory.
func tree(t *testing.T, files vars) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// docs/spec/host.md 9, 15; 5.1: the variable and the file.
func TestTableNames(t *testing.T) {
	const name, path = "HOST_CONFIGFS_ssdt", "configfs.json"
	f := func(old, variable, want string) {
		t.Helper()
		c, dir := board(t, "up-board", vars{path: old})
		change := differs(t, c, vars{name: variable})
		if (change == nil) != (old == want) || change != nil && !change.Reboot {
			t.Errorf("%q with %q: %+v", old, variable, change)
		}
		if err := apply(c, vars{name: variable}); err != nil || content(t, dir, path) != want {
			t.Errorf("%q with %q becomes %q (%v), want %q", old, variable, content(t, dir, path), err, want)
		}
		if change := differs(t, c, vars{name: variable}); change != nil {
			t.Errorf("%q is not read back: %+v", want, change)
		}
		if change := differs(t, c, c.Current()); change != nil && !strings.Contains(want, `\"`) {
			t.Errorf("what %q says differs from it: %+v", want, change)
		}
	}
	f("", "spidev1.0", `{"ssdt":["spidev1.0"]}`)
	f("", ` "spidev1.0"`, `{"ssdt":[" \"spidev1.0\""]}`) // does not begin with a quote, so it is one name
	f("", `"spidev1.0","spidev1.1"`, `{"ssdt":["spidev1.0","spidev1.1"]}`)
	f("no JSON", `"b", "a" ,c`, `{"ssdt":["b","a","c"]}`)
	f(`{"ssdt":["a","b"]}`, `"b","a"`, `{"ssdt":["b","a"]}`)
	f(`{"ssdt":["a","b"]}`, `"a",b`, `{"ssdt":["a","b"]}`)
	f("{ \"z\": {\"y\": 1e3},\n \"ssdt\": [\"a\"] }\n", "b", `{"ssdt":["b"],"z":{"y":1e3}}`)
	f(`{"ssdt":["a"],"z":1}`, "", `{"z":1}`)
	for _, nothing := range []string{"", "no JSON", "[]", `{"ssdt":"a"}`, `{"ssdt":["a",1]}`, `{"ssdt":[],"z":1}`} {
		f(nothing, "", nothing)
	}

	c, dir := board(t, "up-board", vars{path: `{"ssdt":["a"]}`})
	if got := c.Current()[name]; got != `"a"` {
		t.Errorf("current: %s", got)
	}
	for _, odd := range []string{"../a", "/a", `"a",""`, `""`, ".", `"a","b/c"`, "a\x00"} {
		change, refused, err := c.Differs(vars{name: odd})
		if change != nil || refused[name] == nil || err != nil {
			t.Errorf("%q was taken: %v %v %v", odd, change, refused, err)
		}
	}
	if err := apply(c, nil); err != nil || content(t, dir, path) != "{}" {
		t.Errorf("unset: %v, %s", err, content(t, dir, path))
	}
	if c, dir := board(t, "up-board", nil); apply(c, nil) != nil || exists(dir+"/"+path) {
		t.Error("a file was made for nothing")
	}
	if c, dir := board(t, "up-board2", nil); apply(c, vars{name: "a"}) != nil || exists(dir+"/"+path) {
		t.Error("a board of another type has tables")
	}
}

// docs/spec/host.md 9, 15; 5.1: the tables that are loaded at every start, and the messages when that fails.
func TestLoadTables(t *testing.T) {
	const file = `{"other": 1, "ssdt": ["a", "none", "../b", "c", "d"]}`
	const table = "sys/kernel/config/acpi/table/"
	root := tree(t, vars{
		"boot/acpi-tables/a.aml": strings.Repeat("AML", 5000), "boot/acpi-tables/c.aml": "C", "boot/acpi-tables/d.aml": "D", "boot/b.aml": "B",
		table + "a/aml": "", table + "a/oem_id": "ALASKA\n", table + "a/oem_table_id": "A M I \n", table + "a/oem_revision": "1\n",
		table + "c/aml": "", // shows nothing of the table
	})
	var said, loaded []string
	var log bytes.Buffer
	var refuse error
	run := func(dir string) {
		said, loaded = nil, nil
		New(Options{Dir: dir, Root: root, Slug: "up-board"}).LoadTables(func(name string) error {
			loaded = append(loaded, name)
			return refuse
		}, func(text string, _ bool) { said = append(said, text) }, zerolog.New(&log))
	}
	read := func(path string) string { return content(t, root, path) }
	dir := tree(t, vars{"configfs.json": file})

	refuse = errors.New("no such module")
	run(dir)
	if !slices.Equal(said, []string{"Unable to initialise ConfigFS"}) || read(table+"a/aml") != "" || content(t, dir, "configfs.json") != file {
		t.Errorf("without the module: %q", said)
	}
	refuse = nil
	run(dir)
	if !slices.Equal(loaded, []string{"acpi_configfs"}) || read(table+"a/aml") != read("boot/acpi-tables/a.aml") || read(table+"c/aml") != "C" {
		t.Errorf("loaded %q; %d bytes of a, %q of c", loaded, len(read(table+"a/aml")), read(table+"c/aml"))
	}
	want := []string{"Missing AML for 'none'. Unable to load.", "Missing AML for '../b'. Unable to load.", "Unable to load AML for 'c': ", "Unable to load AML for 'd': "}
	for i := range want {
		if i >= len(said) || !strings.HasPrefix(said[i], want[i]) || len(said) != len(want) {
			t.Fatalf("said %q, want %q", said, want)
		}
	}
	if got := content(t, dir, "configfs.json"); got != `{"other":1,"ssdt":["a","none","../b","c","d"]}` {
		t.Errorf("the file was written back as %s", got)
	}
	if !strings.Contains(log.String(), `"oem_id":"ALASKA","oem_table_id":"A M I","oem_revision":"1"`) {
		t.Errorf("logged %s", log.String())
	}
	if exists(filepath.Join(root, table, "d/aml")) || !exists(filepath.Join(root, table, "d")) {
		t.Error("an attribute of the kernel was made")
	}

	for _, nothing := range []vars{nil, {"configfs.json": "{"}, {"configfs.json": `{"ssdt":"a"}`}} {
		dir := tree(t, nothing)
		run(dir)
		if len(said) > 0 || content(t, dir, "configfs.json") != nothing["configfs.json"] {
			t.Errorf("%v: said %q, the file has %q", nothing, said, content(t, dir, "configfs.json"))
		}
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "configfs.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(dir)
	if !slices.Equal(said, []string{"Unable to initialise ConfigFS"}) {
		t.Errorf("of a folder: said %q", said)
	}
	New(Options{Dir: dir, Slug: "raspberrypi3"}).LoadTables(nil, nil, zerolog.Nop()) // has none
}

const odmName = "HOST_ODMDATA_configuration"

// tx2 is a TX2 with these three bytes in its boot partition, and the kernel's files.
func tx2(t *testing.T, have ...byte) (c *Config, part, guard string, image []byte) {
	t.Helper()
	image = make([]byte, 64<<10)
	for i := range image {
		image[i] = byte(rand.IntN(256))
	}
	for i, offset := range odmOffsets {
		image[offset] = have[i]
	}
	root := tree(t, vars{"dev/mmcblk0boot0": string(image), "sys/block/mmcblk0boot0/force_ro": "1\n"})
	return New(Options{Dir: t.TempDir(), Root: root, Slug: "jetson-tx2"}), root + "/dev/mmcblk0boot0", root + "/sys/block/mmcblk0boot0/force_ro", image
}

// docs/spec/host.md 9, 15; 5.2: three bytes of the partition are written, and nothing else.
func TestOdmData(t *testing.T) {
	for have := range len(odmModes) {
		for want := range len(odmModes) {
			b := odmModes[have]
			c, part, guard, image := tx2(t, b, b, b)
			mode, config := fmt.Sprint(have+1), vars{odmName: fmt.Sprint(want + 1)}
			if got := vars(c.Current()); !maps.Equal(got, vars{odmName: mode}) {
				t.Errorf("byte %d is %v", b, got)
			}
			if change := differs(t, c, nil); change != nil {
				t.Errorf("unset, the mode does not stay as it is: %+v", change)
			}
			change := differs(t, c, config)
			if (change == nil) != (have == want) || change != nil && !change.Reboot {
				t.Errorf("%s to %v: %+v", mode, config, change)
			}
			if err := apply(c, config); err != nil || !maps.Equal(vars(c.Current()), config) {
				t.Errorf("%s to %v: %v, %v", mode, config, c.Current(), err)
			}
			for _, offset := range []int{1659, 5243, 18043} {
				image[offset] = "\x00\x01\x06\x07\x02\x03"[want]
			}
			if got, err := os.ReadFile(part); err != nil || !bytes.Equal(got, image) {
				t.Fatalf("%s to %v: other bytes were changed (%v)", mode, config, err)
			}
			if got, _ := os.ReadFile(guard); string(got) != "1\n" {
				t.Errorf("%s to %v: the guard has %q", mode, config, got)
			}
		}
	}
}

// docs/spec/host.md 9, 15; 5.2: unless all is clear, nothing is written, and the error has the reason.
func TestOdmDataInDoubt(t *testing.T) {
	f := func(have []byte, value string) {
		t.Helper()
		c, part, _, image := tx2(t, have...)
		change, refused, err := c.Differs(vars{odmName: value})
		if change != nil || refused[odmName] == nil || err != nil {
			t.Errorf("%v to %q: %v %v %v", have, value, change, refused, err)
		}
		if have[0] != have[2] && len(c.Current()) > 0 {
			t.Errorf("%v is %v", have, c.Current())
		}
		if got, _ := os.ReadFile(part); !bytes.Equal(got, image) {
			t.Errorf("%v to %q was written", have, value)
		}
	}
	for _, odd := range []string{"", "0", "7", "12", "1.0", "x", "-1"} {
		f([]byte{1, 1, 1}, odd)
	}
	for _, have := range [][]byte{{1, 1, 0}, {1, 0, 1}, {0, 1, 1}, {6, 2, 3}, {4, 4, 4}, {255, 255, 255}} {
		f(have, "2")
	}

	// A partition that is missing, or too small.
	c, part, guard, image := tx2(t, 1, 1, 1)
	change := differs(t, c, vars{odmName: "3"})
	if err := os.Truncate(part, 18043); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Differs(vars{odmName: "3"}); err == nil {
		t.Error("a partition that is too small is none to be told of")
	}
	if err := change.Write(); err == nil {
		t.Error("a partition that is too small was written")
	}
	if got, _ := os.ReadFile(part); !bytes.Equal(got, image[:18043]) {
		t.Error("a partition that is too small was changed")
	}
	os.Remove(part)
	if _, refused, err := c.Differs(vars{odmName: "3"}); refused[odmName] == nil || err != nil {
		t.Errorf("without the partition: %v %v", refused, err)
	}
	if err := change.Write(); err == nil || exists(part) {
		t.Errorf("the partition was made: %v", err)
	}

	// Without the kernel's file, which is not created.
	c, part, guard, image = tx2(t, 1, 1, 1)
	os.Remove(guard)
	if err := apply(c, vars{odmName: "3"}); err == nil || exists(guard) {
		t.Errorf("without the guard: %v", err)
	}
	if got, _ := os.ReadFile(part); !bytes.Equal(got, image) {
		t.Error("a partition that is still guarded was written")
	}

	// Somebody else changed the bytes meanwhile.
	c, part, _, image = tx2(t, 1, 1, 1)
	change = differs(t, c, vars{odmName: "3"})
	image[5243] = 9
	if err := os.WriteFile(part, image, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := change.Write(); err == nil {
		t.Error("bytes in doubt were written")
	}
	if got, _ := os.ReadFile(part); !bytes.Equal(got, image) {
		t.Error("bytes in doubt were changed")
	}
}

// docs/spec/host.md 9, 15; 5.2: the protection is off only during the write, also when the write fails.
func TestOdmDataIsGuardedAgain(t *testing.T) {
	c, part, guard, _ := tx2(t, 1, 1, 1)
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	names := make(map[byte]string)
	for _, path := range []string{part, guard} {
		id, err := unix.InotifyAddWatch(watch, path, unix.IN_MODIFY)
		if err != nil {
			t.Fatal(err)
		}
		names[byte(id)] = filepath.Base(path)
	}
	if err := apply(c, vars{odmName: "3"}); err != nil {
		t.Fatal(err)
	}
	var events [1000]byte
	n, _ := unix.Read(watch, events[:])
	var order []string
	for at := 0; at < n; at += unix.SizeofInotifyEvent {
		order = append(order, names[events[at]])
	}
	if order = slices.Compact(order); !slices.Equal(order, []string{"force_ro", "mmcblk0boot0", "force_ro"}) {
		t.Errorf("written in the order %q", order)
	}

	// A memory that accepts no more writes.
	c, part, guard, image := tx2(t, 1, 1, 1)
	fd, err := unix.MemfdCreate("boot0", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	sealed := fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, err := unix.Write(fd, image); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != nil {
		t.Skip(err)
	}
	if err := errors.Join(os.Remove(part), os.Symlink(sealed, part), os.WriteFile(guard, []byte("0\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := apply(c, vars{odmName: "3"}); err == nil {
		t.Error("nothing was wrong")
	}
	if got, _ := os.ReadFile(guard); string(got) != "1\n" {
		t.Errorf("the guard has %q", got)
	}
}

// For any file, the written value is read back, and all other members stay.
func FuzzTableNames(f *testing.F) {
	f.Add(`{"ssdt":["a"],"z":{"y":1e3}}`, `"b","c"`)
	f.Add(`{"ssdt":"a"}`, "")
	f.Add("no JSON", "<&>")
	f.Fuzz(func(t *testing.T, text, variable string) {
		a := acpi{path: filepath.Join(t.TempDir(), "configfs.json")}
		if err := os.WriteFile(a.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before, _, _ := a.document()
		want := values{acpiKey: variable}
		c, err := a.change(want)
		if err != nil || c.write == nil {
			return
		}
		if err := c.write(); err != nil {
			t.Fatal(err)
		}
		if again, err := a.change(want); again.write != nil || err != nil {
			t.Fatalf("%q with %q does not come back: %v", text, variable, err)
		}
		after, _, _ := a.document()
		for key := range before {
			if _, there := after[key]; key != acpiKey && !there {
				t.Fatalf("%q with %q lost %q", text, variable, key)
			}
		}
	})
}
