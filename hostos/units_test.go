package hostos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseEntry(t *testing.T) {
	f := func(entry, want string) {
		t.Helper()
		got := ""
		if l, ok := parseEntry([]byte(entry)); ok {
			got = fmt.Sprintf("%s %d %q %v", l.Cursor, l.At.UnixMicro(), l.Text, l.Stderr)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", entry, got, want)
		}
	}
	const place = `"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1795537266675667"`
	f(`{`+place+`,"MESSAGE":"a \"b\" \u00e9","PRIORITY":"6"}`, `s=1;i=2 1795537266675667 "a \"b\" é" false`)
	f(`{"PRIORITY":"3","MESSAGE":"bad",`+place+`}`, `s=1;i=2 1795537266675667 "bad" true`)
	f(`{`+place+`,"MESSAGE":"worst","PRIORITY":"0"}`, `s=1;i=2 1795537266675667 "worst" true`)
	f(`{`+place+`,"MESSAGE":[104,105,255,1]}`, `s=1;i=2 1795537266675667 "hi\xff\x01" false`)
	f(`{`+place+`,"MESSAGE":"x","PRIORITY":["3","4"]}`, `s=1;i=2 1795537266675667 "x" false`)
	f(`{`+place+`,"MESSAGE":["two","messages"]}`, ``)
	f(`{`+place+`}`, ``)
	f(`{"MESSAGE":"x"}`, ``)
	f(`{`+place+`,"MESSAGE":"cut`, ``)
	f(`-- no entries --`, ``)
}

func TestUnitArguments(t *testing.T) {
	has := func(args []string, want ...string) {
		t.Helper()
		for _, arg := range want {
			if !slices.Contains(args, arg) {
				t.Errorf("%q is not in %q", arg, args)
			}
		}
	}
	has(unitArguments("", time.UnixMilli(1795537266007)), "--follow", "--since=@1795537266.007", "_SYSTEMD_UNIT=nvpmodel.service")
	has(unitArguments("s=1", time.Now()), "--no-tail", "--cursor=s=1", "_SYSTEMD_UNIT=os-update.service")
}

// Entries that are too long or were delivered already are skipped. The end of journalctl is an error while a unit may
// still write.
func TestFollowUnits(t *testing.T) {
	entry := func(n int, text string) string {
		return fmt.Sprintf(`{"__CURSOR":"c%d","__REALTIME_TIMESTAMP":"%d","MESSAGE":"%s"}`+"\n", n, n, text)
	}
	path := filepath.Join(t.TempDir(), "journal")
	text := entry(1, "seen") + entry(2, strings.Repeat("x", 10000)) + entry(3, strings.Repeat("x", maxEntry)) + entry(4, "last")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	j := program(t, "cat "+path)
	defer j.Close()
	err := j.follow(t.TempDir(), "c1", func(l UnitLine) { got = append(got, fmt.Sprint(l.Cursor, len(l.Text))) })
	if !errors.Is(err, io.EOF) || !slices.Equal(got, []string{"c210000", "c44"}) {
		t.Errorf("got %q %v", got, err)
	}
}

// program is a running shell in place of journalctl.
func program(t *testing.T, script string) *journal {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	proc, err := startIn("/", []string{"/nowhere/sh", "/bin/sh"}, []string{"sh", "-c", script}, nil, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &journal{out: out, proc: proc}
}

func TestUnitsOfAHostWithoutJournal(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to look into another root")
	}
	if err := FollowUnits(t.Context(), t.TempDir(), "", time.Now(), nil); err != nil {
		t.Error(err)
	}
}

func TestWatchUnits(t *testing.T) {
	root := t.TempDir()
	started := make(chan bool, 9)
	watch := func() (n int) {
		t.Helper()
		if err := WatchUnits(t.Context(), root, func() { started <- true }); err != nil {
			t.Error(err)
		}
		return len(started)
	}
	put := func(path string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".#", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".#", path); err != nil {
			t.Fatal(err)
		}
	}
	if put("etc/systemd/system/os-update.service"); watch() != 0 {
		t.Error("started was called on a host without systemd")
	}
	if put("run/systemd/units/invocation:a.service"); watch() != 1 {
		t.Error("started was not called for an existing unit file")
	}
	<-started
	if err := os.Remove(filepath.Join(root, "etc/systemd/system/os-update.service")); err != nil {
		t.Fatal(err)
	}
	if watch() != 0 {
		t.Error("started was called on a host without any of the units")
	}
	put("run/systemd/units/invocation:b.service")
	put("run/systemd/units/invocation:nvpmodel.service")
	<-started // from the watch before
	<-started
	if put("run/systemd/units/invocation:os-update.service"); watch() < 1 {
		t.Error("started was not called for an active unit")
	}
	if anyUnit(root, groupPlaces) {
		t.Error("a unit without a control group counts as running")
	}
	if put("sys/fs/cgroup/systemd/system.slice/os-update.service/tasks"); !anyUnit(root, groupPlaces) {
		t.Error("a unit with a control group does not count as running")
	}
}
