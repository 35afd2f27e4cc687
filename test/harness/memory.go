package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Peak is the most memory that the process has while f runs, above what it has before, in KiB.
func (p *Process) Peak(t testing.TB, f func()) int64 {
	t.Helper()
	before := p.memory(t, "VmRSS")
	// The kernel resets the most that the process has had.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	f()
	return p.memory(t, "VmHWM") - before
}

// memory is a line of the process's status, in KiB.
func (p *Process) memory(t testing.TB, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", name, text)
	return 0
}
