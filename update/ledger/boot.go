package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/current"
	"resin-supervisor/update/settings"
)

// Reboot is how a release asks for a reboot of the device: a file that whoever reboots looks for
// (docs/spec/engine.md 5.6). The name that the kernel gives to each boot tells boots apart, since the clock of a
// board without a battery may be behind what it was before the reboot. Times decide where there is no name: for a
// file that somebody else made or touched.
type Reboot struct {
	ID         string    // the kernel's name for this boot, empty when it is not known
	Booted     time.Time // when the device booted
	Breadcrumb string    // path of the file
}

// Request makes the request. A file that an earlier boot left becomes a new one.
func (r Reboot) Request() error {
	if err := os.MkdirAll(filepath.Dir(r.Breadcrumb), 0o755); err != nil {
		return err // names operation and path
	}
	return file.Write(r.Breadcrumb, fmt.Appendf(nil, "%d %s", time.Now().UnixNano(), r.ID), 0o644)
}

// Withdraw takes the request back.
func (r Reboot) Withdraw() error { return file.Remove(r.Breadcrumb) }

// Requested tells whether the request was made since the device booted.
func (r Reboot) Requested() bool {
	info, err := os.Stat(r.Breadcrumb)
	if err != nil {
		return false
	}
	text, _ := file.Read(r.Breadcrumb, file.Small) // unreadable is not ours
	written, id, _ := strings.Cut(string(text), " ")
	at, err := strconv.ParseInt(written, 10, 64)
	if ours := err == nil && info.ModTime().Sub(time.Unix(0, at)) < time.Second; ours && r.ID != "" {
		return id == r.ID
	}
	return info.ModTime().After(r.Booted)
}

// NotStartedAtBoot are the containers (engine id) that were created and not started yet when the device booted. The
// first call in a boot finds them. The result is kept for later starts of the agent.
func (l *Ledger) NotStartedAtBoot(cur *current.State) (map[string]bool, error) {
	var known struct {
		Boot       string   `json:"boot"`
		Containers []string `json:"containers"`
	}
	if _, err := l.docs.Load(bootDocument, documentVersion, &known); err != nil {
		return nil, fmt.Errorf("open boot: %w", err)
	}
	all := make(map[string]bool)
	if l.Reboot.ID != "" && known.Boot == l.Reboot.ID {
		for _, id := range known.Containers {
			all[id] = true
		}
		return all, nil
	}
	another := l.Reboot.ID != "" && known.Boot != ""
	known.Boot, known.Containers = l.Reboot.ID, nil
	for id, c := range cur.Containers {
		if c.Status == "created" && (another || !c.CreatedAt.After(l.Reboot.Booted)) {
			all[id] = true
			known.Containers = append(known.Containers, id)
		}
	}
	slices.Sort(known.Containers)
	if err := l.docs.Save(bootDocument, documentVersion, known); err != nil {
		return all, fmt.Errorf("store boot: %w", err)
	}
	return all, nil
}

const (
	// writtenDocument holds the last change that has its effect after a reboot only, and the boots in a
	// row in which it was written.
	writtenDocument = "written"
	// maxBoots is in how many boots in a row the same change is written. Without a limit the device would reboot for
	// ever where something undoes the change each time, such as a host that restores the file.
	maxBoots = 3
)

// CheckBootChange refuses a change of the boot configuration that was made in several boots in a row and undone each
// time. A change that is still there after a reboot is forgotten: change is nil then.
func (l *Ledger) CheckBootChange(change *settings.Boot) error {
	last := l.written()
	switch {
	case len(last) == 0 || last[len(last)-1] == l.Reboot.ID:
	case change == nil:
		return l.docs.Save(writtenDocument, documentVersion, []string{})
	case change.Why == last[0] && len(last) > maxBoots:
		return errors.New("what was written is undone at every start of the device")
	}
	return nil
}

func (l *Ledger) written() (last []string) {
	_, _ = l.docs.Load(writtenDocument, documentVersion, &last) // counting starts again where it is lost
	return last
}

// BootWritten records the boot in which a change of the boot configuration was made.
func (l *Ledger) BootWritten(change *settings.Boot) error {
	last := l.written()
	if len(last) == 0 || last[0] != change.Why {
		last = []string{change.Why}
	}
	if last[len(last)-1] == l.Reboot.ID {
		return nil
	}
	return l.docs.Save(writtenDocument, documentVersion, append(last, l.Reboot.ID))
}
