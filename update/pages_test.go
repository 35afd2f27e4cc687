package update

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// code is where the program's code is, and how many KiB of it are mapped.
func code(t *testing.T) (first, last, mapped uintptr) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := bytes.Cut(text, []byte(" r-xp "))
	_, rss, _ := bytes.Cut(after, []byte("\nRss:"))
	if _, err := fmt.Sscanf(string(before[bytes.LastIndexByte(before, '\n')+1:]), "%x-%x", &first, &last); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(rss), &mapped); err != nil {
		t.Fatal(err)
	}
	return first, last, mapped
}

// The program loses its pages and goes on without them, also when it was linked so that a loader wrote to
// some of them before they could only be read: then it keeps them.
func TestUnmapProgram(t *testing.T) {
	first, last, _ := code(t)
	if _, _, err := unix.Syscall(unix.SYS_MADVISE, first, last-first, unix.MADV_POPULATE_READ); err != 0 {
		t.Fatal(err)
	}
	_, _, before := code(t)
	for range 3 {
		unmapProgram()
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, now := code(t); !bytes.Contains(maps, []byte(".so")) && now > before/2 {
		t.Errorf("%d KiB of the code are mapped, %d before", now, before)
	}
	if _, err := exec.LookPath("sh"); err != nil { // code and constants that come back
		t.Error(err)
	}
}
