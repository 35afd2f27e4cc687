package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cpu is the processor time all threads of a process have used.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	var sum int64
	for _, task := range tasks(t, pid) {
		text, err := os.ReadFile(filepath.Join(task, "schedstat"))
		if err != nil {
			continue // the thread has ended
		}
		if f := strings.Fields(string(text)); len(f) > 0 {
			sum += number(t, f[0])
		}
	}
	return time.Duration(sum)
}

// switches is how often all threads of a process gave up the processor, by will or by force.
func switches(t testing.TB, pid int) int64 {
	t.Helper()
	var sum int64
	for _, task := range tasks(t, pid) {
		text, err := os.ReadFile(filepath.Join(task, "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, "voluntary_ctxt_switches") {
				sum += number(t, strings.TrimSpace(value))
			}
		}
	}
	return sum
}

// memory is what of a process is resident, and which part of that is its own, in KiB.
func memory(t testing.TB, pid int) (resident, anonymous int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch f[0] {
		case "Rss:":
			resident = number(t, f[1])
		case "Anonymous:":
			anonymous = number(t, f[1])
		}
	}
	return resident, anonymous
}

func tasks(t testing.TB, pid int) []string {
	t.Helper()
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(list) == 0 {
		t.Fatalf("process %d is gone", pid)
	}
	return list
}

func number(t testing.TB, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
