//go:build !arm

package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// odmData is the mode of the lanes of a Jetson TX2 (docs/spec/host.md 5.2). Its boot loader reads the mode from three
// equal bytes in the first boot partition of the eMMC, which the kernel protects from writes. A wrong byte may keep the
// board from starting. So nothing is written when the bytes are not clear.
type odmData struct {
	part    string // the boot partition
	forceRO string // the kernel's file that allows writes to it (0) or not (1)
}

const odmKey = "configuration"

// odmOffsets are the offsets of the bytes.
var odmOffsets = [...]int64{1659, 5243, 18043}

// odmModes are the bytes of the modes 1 to 6.
const odmModes = "\x00\x01\x06\x07\x02\x03"

func (*odmData) canonicalKey(key string) string {
	if key == odmKey {
		return odmKey
	}
	return ""
}

var errOdmUnclear = errors.New("the three bytes on the board do not name one mode, so they are not changed")

// mode is the byte on the board. The error is errOdmUnclear when the three bytes differ or name no mode.
func (o *odmData) mode() (byte, error) {
	f, err := os.OpenFile(o.part, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // reads from the medium, not from the page cache
	var have [len(odmOffsets)]byte
	for i, offset := range odmOffsets {
		if _, err := f.ReadAt(have[i:i+1], offset); err != nil {
			return 0, fmt.Errorf("read %s: %w", o.part, err)
		}
	}
	if have[0] != have[1] || have[0] != have[2] || strings.IndexByte(odmModes, have[0]) < 0 {
		return 0, errOdmUnclear
	}
	return have[0], nil
}

func (o *odmData) read() (values, error) {
	have, err := o.mode()
	if err != nil {
		return nil, err
	}
	return values{odmKey: string(rune('1' + strings.IndexByte(odmModes, have)))}, nil
}

// change leaves the mode as it is when the target does not name one.
func (o *odmData) change(want values) (c change, err error) {
	text, wanted := want[odmKey]
	if !wanted {
		return c, nil
	}
	refuse := func(err error) (change, error) { return change{refused: map[string]error{odmKey: err}}, nil }
	if text = strings.TrimSpace(text); len(text) != 1 || text[0] < '1' || text[0] > '6' {
		return refuse(errors.New("the modes are 1 to 6"))
	}
	have, err := o.mode()
	if errors.Is(err, errOdmUnclear) || errors.Is(err, fs.ErrNotExist) {
		return refuse(err)
	}
	if next := odmModes[text[0]-'1']; err == nil && next != have {
		c.write, c.reboot = func() error { return o.set(next) }, true
	}
	return c, err
}

// set writes the byte of a mode and reads it back. In any case it protects the partition again.
func (o *odmData) set(next byte) (err error) {
	before, err := o.mode()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, overwrite(o.forceRO, []byte("1"), 0)) }()
	if err = overwrite(o.forceRO, []byte("0"), 0); err != nil {
		return err
	}
	if err = o.put(next); err != nil {
		err = errors.Join(err, o.put(before)) // three different bytes would name no mode
	}
	return err
}

// put writes a byte to the three offsets.
func (o *odmData) put(b byte) error {
	for _, offset := range odmOffsets {
		if err := overwrite(o.part, []byte{b}, offset); err != nil {
			return err
		}
	}
	if have, err := o.mode(); err != nil || have != b {
		return errors.Join(fmt.Errorf("write %s: the bytes on the medium differ from those written", o.part), err)
	}
	return nil
}
