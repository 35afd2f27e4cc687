package update

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
)

// reboot is how a release asks for a reboot of the device: a file that whoever reboots looks for
// (docs/spec/engine.md 5.6). Boots are told apart by the kernel's name for them, since the clock of a board
// without a battery may be behind what it was before the reboot. Times decide where there is no name:
// for a file that somebody else made or touched.
type reboot struct {
	id         string // of this boot, empty when it is not known
	booted     time.Time
	breadcrumb string
}

// require makes the request. A file that an earlier boot left becomes a new one.
func (r reboot) require() error {
	if err := os.MkdirAll(filepath.Dir(r.breadcrumb), 0o755); err != nil {
		return err // names operation and path
	}
	return file.Write(r.breadcrumb, fmt.Appendf(nil, "%d %s", time.Now().UnixNano(), r.id), 0o644)
}

// withdraw takes the request back.
func (r reboot) withdraw() error { return file.Remove(r.breadcrumb) }

// required tells whether the request was made since the device booted.
func (r reboot) required() bool {
	info, err := os.Stat(r.breadcrumb)
	if err != nil {
		return false
	}
	text, _ := file.Read(r.breadcrumb, file.Small) // unreadable is not ours
	written, id, _ := strings.Cut(string(text), " ")
	at, err := strconv.ParseInt(written, 10, 64)
	if ours := err == nil && info.ModTime().Sub(time.Unix(0, at)) < time.Second; ours && r.id != "" {
		return id == r.id
	}
	return info.ModTime().After(r.booted)
}

// earlier are the containers (engine id) that were not started yet when the device booted. The first
// look of a boot finds them, and what it found is kept for the agent's later starts.
func (b *book) earlier(r reboot, cur *current.State) (map[string]bool, error) {
	var known struct {
		Boot       string   `json:"boot"`
		Containers []string `json:"containers"`
	}
	if _, err := b.docs.Load(bootDocument, bookVersion, &known); err != nil {
		return nil, fmt.Errorf("open boot: %w", err)
	}
	all := make(map[string]bool)
	if r.id != "" && known.Boot == r.id {
		for _, id := range known.Containers {
			all[id] = true
		}
		return all, nil
	}
	another := r.id != "" && known.Boot != ""
	known.Boot, known.Containers = r.id, nil
	for id, c := range cur.Containers {
		if c.Status == "created" && (another || !c.CreatedAt.After(r.booted)) {
			all[id] = true
			known.Containers = append(known.Containers, id)
		}
	}
	slices.Sort(known.Containers)
	if err := b.docs.Save(bootDocument, bookVersion, known); err != nil {
		return all, fmt.Errorf("store boot: %w", err)
	}
	return all, nil
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
