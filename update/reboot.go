package update

import (
	"os"
	"path/filepath"
	"time"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/plan"
)

// reboot is how a release asks for a reboot of the device: a file that whoever reboots looks for
// (spec/engine.md 5.6).
type reboot struct {
	booted     time.Time
	breadcrumb string
}

// require makes the request. A file that an earlier boot left becomes a new one.
func (r reboot) require() error {
	if err := os.MkdirAll(filepath.Dir(r.breadcrumb), 0o755); err != nil {
		return err // names operation and path
	}
	return file.Write(r.breadcrumb, nil, 0o644)
}

// requireReboot asks for a reboot on behalf of a service, or of changes of the configuration, and
// says so.
func (x *executor) requireReboot(s plan.Step) error {
	why := changesText(rebootChanges(s.Changes))
	if service := s.ServiceName(); service != "" {
		why = jsonText(map[string]string{"serviceName": service})
	}
	err := x.reboot.require()
	if err == nil {
		x.say("Reboot has been scheduled to apply changes: "+why, false)
	}
	return err
}

// required tells whether the request was made since the device booted.
func (r reboot) required() bool {
	info, err := os.Stat(r.breadcrumb)
	return err == nil && info.ModTime().After(r.booted)
}
