// Package board knows which kind of board the supervisor runs on.
package board

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"resin-supervisor/hostos/file"
)

// unknown is the value of a part that the boot partition does not tell.
const unknown = "unknown"

// Type is the device type of a board, such as raspberrypi3 with the architecture armv7hf.
type Type struct {
	Slug string
	Arch string
	// FromTree says that the type comes from the kernel's device tree, because there is no device-type.json.
	FromTree bool
}

// Read reads device-type.json on the boot partition. A part that cannot be read is "unknown" (docs/spec/cloud.md 1.3).
// Without that file the kernel's device tree tells the board (docs/spec/host.md 5). It is below root, where the host's
// root is mounted. Read caches nothing, so a later call sees a repaired file.
func Read(bootDir, root string) Type {
	var content struct {
		Slug text `json:"slug"`
		Arch text `json:"arch"`
	}
	data, err := file.Read(filepath.Join(bootDir, "device-type.json"), file.Small)
	if err == nil {
		_ = json.Unmarshal(data, &content) // invalid parts stay empty
	} else if errors.Is(err, fs.ErrNotExist) {
		if t := fromTree(readTree(root), arch()); t.FromTree {
			return t
		}
	}
	return Type{Slug: content.Slug.orUnknown(), Arch: content.Arch.orUnknown()}
}

// text is a JSON string; any other value reads as empty.
type text string

// UnmarshalJSON never fails, so that one invalid value does not hide the other.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	_ = json.Unmarshal(data, &s)
	*t = text(s)
	return nil
}

func (t text) orUnknown() string {
	if t == "" {
		return unknown
	}
	return string(t)
}
