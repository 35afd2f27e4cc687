package hostos

import (
	"path/filepath"
	"strings"

	"resin-supervisor/hostos/file"
)

// ReadHostname returns the host name that the system below root applied at its last start. The
// error wraps the system error.
func ReadHostname(root string) (string, error) {
	data, err := file.Read(filepath.Join(root, "etc/hostname"), file.Small)
	return strings.TrimSpace(string(data)), err
}
