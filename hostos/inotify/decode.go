package inotify

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

var errShort = errors.New("read inotify: truncated event")

// decode parses the kernel's events. Each has watch, mask, cookie and name length as 32-bit numbers in machine byte
// order, then the name padded with zeros.
func decode(b []byte) ([]Event, error) {
	var events []Event
	for len(b) > 0 {
		if len(b) < unix.SizeofInotifyEvent {
			return nil, errShort
		}
		size := binary.NativeEndian.Uint32(b[12:])
		rest := b[unix.SizeofInotifyEvent:]
		if uint64(size) > uint64(len(rest)) {
			return nil, errShort
		}
		name, _, _ := bytes.Cut(rest[:size], []byte{0})
		events = append(events, Event{
			Watch: int(int32(binary.NativeEndian.Uint32(b))),
			Mask:  binary.NativeEndian.Uint32(b[4:]),
			Name:  string(name),
		})
		b = rest[size:]
	}
	return events, nil
}
