package hostos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// recordSize is the size of the kernel's longest record, in bytes.
const recordSize = 8192

// Undervoltage knows whether the kernel has logged an undervoltage warning (docs/spec/cloud.md 4.8).
type Undervoltage struct {
	path string
	last atomic.Uint64 // 1 + sequence number of the newest warning, 0 if there is none
}

// WatchUndervoltage reads the kernel's log at path (/dev/kmsg) and follows it until ctx ends, without polling. It calls
// changed, unless that is nil, when the log gets a warning and had none before. If the log cannot be read it returns
// an error and an Undervoltage that never sees a warning.
func WatchUndervoltage(ctx context.Context, path string, changed func()) (*Undervoltage, error) {
	u := &Undervoltage{path: path}
	log, err := openLog(path)
	if err != nil {
		return u, err
	}
	stop := context.AfterFunc(ctx, func() { _ = log.SetReadDeadline(time.Unix(1, 0)) }) // wakes the read
	go func() {
		defer log.Close()
		defer stop()
		u.follow(log, changed)
	}()
	return u, nil
}

func openLog(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (u *Undervoltage) follow(log io.Reader, changed func()) {
	record := make([]byte, recordSize)
	for {
		n, err := log.Read(record)
		if errors.Is(err, unix.EPIPE) { // records were overwritten before they were read
			continue
		}
		if err != nil || n == 0 {
			return
		}
		sequence, message := parseRecord(record[:n])
		if !isUndervoltage(message) {
			continue
		}
		first := !u.Seen()
		u.last.Store(sequence + 1)
		if first && changed != nil {
			changed()
		}
	}
}

// Seen reports whether the kernel's log contains a warning. It returns false after the newest warning was overwritten.
func (u *Undervoltage) Seen() bool {
	last := u.last.Load()
	if last == 0 {
		return false
	}
	if oldest, ok := u.oldest(); ok && oldest >= last {
		u.last.CompareAndSwap(last, 0)
		return false
	}
	return true
}

// oldest returns the sequence number of the first record in the log.
func (u *Undervoltage) oldest() (sequence uint64, ok bool) {
	log, err := openLog(u.path)
	if err != nil {
		return 0, false
	}
	defer log.Close()
	record := make([]byte, recordSize)
	n, err := log.Read(record)
	if err != nil {
		return 0, false
	}
	sequence, _ = parseRecord(record[:n])
	return sequence, true
}

// parseRecord parses "priority,sequence,microseconds,flags;message" and drops further lines.
func parseRecord(record []byte) (sequence uint64, message string) {
	head, body, _ := bytes.Cut(record, []byte{';'})
	if fields := strings.SplitN(string(head), ",", 3); len(fields) == 3 {
		sequence, _ = strconv.ParseUint(fields[1], 10, 64)
	}
	line, _, _ := bytes.Cut(body, []byte{'\n'})
	return sequence, string(line)
}

// isUndervoltage reports whether a message contains "under" and, after that, "voltage".
func isUndervoltage(message string) bool {
	_, after, found := strings.Cut(strings.ToLower(message), "under")
	return found && strings.Contains(after, "voltage")
}
