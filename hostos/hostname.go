package hostos

import (
	"os"
	"path/filepath"
	"strings"
)

// ReadHostname returns the host name that the system below root applied at its last start. The
// error wraps the system error.
func ReadHostname(root string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, "etc/hostname"))
	return strings.TrimSpace(string(data)), err
}
