// Package board knows which kind of board the supervisor runs on.
package board

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// unknown stands for what the boot partition does not say.
const unknown = "unknown"

// Type is the device type of a board, such as raspberrypi3 with the architecture armv7hf.
type Type struct {
	Slug string
	Arch string
}

// Read returns what device-type.json on the boot partition says; each part is "unknown" while it
// cannot be read (docs/spec/cloud.md 1.3). Nothing is kept, so a later call sees a repaired file.
func Read(bootDir string) Type {
	var file struct {
		Slug text `json:"slug"`
		Arch text `json:"arch"`
	}
	data, err := os.ReadFile(filepath.Join(bootDir, "device-type.json"))
	if err == nil {
		_ = json.Unmarshal(data, &file) // what was not understood stays empty
	}
	return Type{Slug: file.Slug.known(), Arch: file.Arch.known()}
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
