package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

// noNameServer makes questions for host names end at once, in the file system of the tests alone.
var noNameServer = sync.OnceValue(func() error {
	return syscall.Mount("/dev/null", "/etc/resolv.conf", "", syscall.MS_BIND, "")
})

// accepted fails the test unless the real redsocks takes the file. Debian's 0.5 is built without
// dnsu2t, so that section is left out; and redsocks resolves host names while it reads, so that one
// it cannot find is no fault of the file.
func accepted(t testing.TB, conf string) {
	t.Helper()
	if out, err := judge(t, conf); err != nil {
		t.Fatalf("redsocks refuses (%v)\n%s\n%s", err, out, conf)
	}
}

// judge is what the real redsocks says of a file, and an error when it refuses it.
func judge(t testing.TB, conf string) (string, error) {
	t.Helper()
	if err := noNameServer(); err != nil {
		t.Fatal(err)
	}
	conf, _, _ = strings.Cut(conf, "\ndnsu2t {")
	file := filepath.Join(t.TempDir(), "redsocks.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(harness.Tool(t, "redsocks"), "-t", "-c", file).CombinedOutput()
	if err != nil && strings.Contains(string(out), "unable to resolve "+ipOf(conf)) {
		err = nil
	}
	return string(out), err
}

// ipOf is the value of ip, whose quotes are only for names that start with a digit.
func ipOf(conf string) string {
	_, rest, _ := strings.Cut(conf, "\n\tip = ")
	value, _, _ := strings.Cut(rest, ";\n")
	return strings.Trim(value, `"`)
}
