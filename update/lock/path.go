package lock

import (
	"path/filepath"
	"strconv"
)

// Path returns the lock directory of a service, which its containers see as /tmp/balena and /tmp/resin. If service is
// empty it returns the directory of the app.
func (d *Dir) Path(appID int, service string) string {
	return filepath.Join(d.services(), strconv.Itoa(appID), service)
}
