package lock

import (
	"path/filepath"
	"strconv"
)

// Path is the directory of a service, which its containers see as /tmp/balena and /tmp/resin; that of
// the app for an empty service.
func (d *Dir) Path(appID int, service string) string {
	return filepath.Join(d.services(), strconv.Itoa(appID), service)
}
