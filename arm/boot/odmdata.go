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

// odmData is the mode in which a Jetson TX2 uses its lanes (docs/spec/host.md 5.2). Its boot loader takes it from
// three bytes, of which each says the same, in the first boot partition of the eMMC, which the kernel guards.
// A wrong byte may keep the board from starting: where there is any doubt nothing is written.
type odmData struct {
	part  string // the boot partition
	guard string // the file of the kernel by which it may be written (0) or not (1)
}

const odmKey = "configuration"

// odmOffsets are where the bytes are.
var odmOffsets = [...]int64{1659, 5243, 18043}

// odmModes are the bytes of the modes from 1 on.
const odmModes = "\x00\x01\x06\x07\x02\x03"

func (*odmData) own(key string) string {
	if key == odmKey {
		return odmKey
	}
	return ""
}

var errOdmDoubt = errors.New("its three bytes on the board are not those of one mode, so they are left alone")

// mode is the byte that the board has. It is errOdmDoubt when the three are not the same, or none of a mode.
func (o *odmData) mode() (byte, error) {
	f, err := os.OpenFile(o.part, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // what the medium has, not what memory remembers
	var have [len(odmOffsets)]byte
	for i, offset := range odmOffsets {
		if _, err := f.ReadAt(have[i:i+1], offset); err != nil {
			return 0, fmt.Errorf("read %s: %w", o.part, err)
		}
	}
	if have[0] != have[1] || have[0] != have[2] || strings.IndexByte(odmModes, have[0]) < 0 {
		return 0, errOdmDoubt
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

// change leaves the mode as it is when the target says nothing of it.
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
	if errors.Is(err, errOdmDoubt) || errors.Is(err, fs.ErrNotExist) {
		return refuse(err)
	}
	if next := odmModes[text[0]-'1']; err == nil && next != have {
		c.write, c.reboot = func() error { return o.set(next) }, true
	}
	return c, err
}

// set writes the byte of a mode, reads it back, and has the kernel guard the partition again whatever came of it.
func (o *odmData) set(next byte) (err error) {
	before, err := o.mode() // as it is now
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, overwrite(o.guard, []byte("1"), 0)) }()
	if err = overwrite(o.guard, []byte("0"), 0); err != nil {
		return err
	}
	if err = o.put(next); err != nil {
		err = errors.Join(err, o.put(before)) // three bytes that differ would be of no mode
	}
	return err
}

// put writes a byte to the three places.
func (o *odmData) put(b byte) error {
	for _, offset := range odmOffsets {
		if err := overwrite(o.part, []byte{b}, offset); err != nil {
			return err
		}
	}
	if have, err := o.mode(); err != nil || have != b {
		return errors.Join(fmt.Errorf("write %s: it does not keep what is written", o.part), err)
	}
	return nil
}
