package update

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// unmapProgram takes the pages of the program itself out of the process: code and constants that a start
// or an apply needed and that a quiet agent does not. They stay in the system's cache for as long as it
// has room, from where a page that is needed again comes back by itself.
func unmapProgram() {
	maps, err := file.Read("/proc/self/maps", file.Large)
	// A loader of shared objects writes to pages before they can only be read: they would be lost.
	if err != nil || bytes.Contains(maps, []byte(".so")) {
		return
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		if f := bytes.Fields(line); len(f) > 5 && f[1][1] == '-' && bytes.HasSuffix(bytes.TrimSpace(line), []byte(program)) {
			first, last, _ := bytes.Cut(f[0], []byte{'-'})
			begin, errA := strconv.ParseUint(string(first), 16, 64)
			end, errB := strconv.ParseUint(string(last), 16, 64)
			if errA == nil && errB == nil {
				_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(begin), uintptr(end-begin), unix.MADV_DONTNEED)
			}
		}
	}
}
