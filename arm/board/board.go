// Package board knows which kind of board the supervisor runs on.
package board

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"resin-supervisor/hostos/file"
)

// unknown stands for what the boot partition does not say.
const unknown = "unknown"

// Type is the device type of a board, such as raspberrypi3 with the architecture armv7hf.
type Type struct {
	Slug string
	Arch string
	// FromTree says that the device tree of the kernel told the type, since there is no device-type.json.
	FromTree bool
}

// Read returns what device-type.json on the boot partition says; each part is "unknown" while it
// cannot be read (docs/spec/cloud.md 1.3). Without that file the board is the one of the device tree of the
// kernel, which is found below root, where the root of the host is mounted (docs/spec/host.md 5). Nothing is
// kept, so a later call sees a repaired file.
func Read(bootDir, root string) Type {
	var said struct {
		Slug text `json:"slug"`
		Arch text `json:"arch"`
	}
	data, err := file.Read(filepath.Join(bootDir, "device-type.json"), file.Small)
	if err == nil {
		_ = json.Unmarshal(data, &said) // what was not understood stays empty
	} else if errors.Is(err, fs.ErrNotExist) {
		if t := fromTree(readTree(root), arch()); t.FromTree {
			return t
		}
	}
	return Type{Slug: said.Slug.known(), Arch: said.Arch.known()}
}

// text is a JSON string; any other value reads as empty.
type text string

// UnmarshalJSON never fails, so that one odd value does not hide the other.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	_ = json.Unmarshal(data, &s)
	*t = text(s)
	return nil
}

func (t text) known() string {
	if t == "" {
		return unknown
	}
	return string(t)
}
