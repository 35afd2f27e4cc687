package hostos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
)

// reportedUnits are the host units whose output is part of the device's log (docs/spec/cloud.md 5.6).
var reportedUnits = []string{
	"os-power-mode.service", "os-fan-profile.service", "nvpmodel.service", "jetson-qspi-manager.service", "os-update.service",
}

const (
	maxEntry = 256 << 10 // bytes of a journal entry; longer ones are skipped
	minQuiet = 5 * time.Second
	maxQuiet = 15 * time.Minute
	// unitsDir is where systemd keeps a link for each active unit, named "invocation:" and the unit's name.
	unitsDir   = "/run/systemd/units"
	invocation = "invocation:"
)

var (
	// unitPlaces are where unit files are, and the links of active units.
	unitPlaces = []string{"/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/",
		"/run/systemd/system/", "/run/systemd/transient/", unitsDir + "/" + invocation}
	// groupPlaces are where units with running processes have a control group.
	groupPlaces = []string{"/sys/fs/cgroup/system.slice/", "/sys/fs/cgroup/systemd/system.slice/", "/sys/fs/cgroup/unified/system.slice/"}
)

// WatchUnits calls started whenever one of the reported units starts, and at once if the host has any of them. It does
// nothing on a host without systemd. On other hosts the start of any unit wakes the process.
func WatchUnits(ctx context.Context, root string, started func()) error {
	w, err := inotify.New()
	if err != nil {
		return err
	}
	if _, err := w.Add(root+unitsDir, unix.IN_MOVED_TO); err != nil { // systemd makes each link under a temporary name
		_ = w.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if anyUnit(root, unitPlaces) {
		started()
	}
	go func() {
		for {
			events, err := w.Read(ctx)
			if err != nil {
				_ = w.Close()
				return
			}
			for i := range events {
				unit, _ := strings.CutPrefix(events[i].Name, invocation)
				if slices.Contains(reportedUnits, unit) || events[i].Watch < 0 { // or events were lost
					started()
				}
			}
		}
	}()
	return nil
}

// anyUnit reports whether a reported unit has a file in one of the places.
func anyUnit(root string, places []string) bool {
	for _, place := range places {
		for _, unit := range reportedUnits {
			if _, err := os.Lstat(root + place + unit); err == nil {
				return true
			}
		}
	}
	return false
}

// UnitLine is one journal entry of a unit.
type UnitLine struct {
	Text   []byte
	Stderr bool // an error or worse
	At     time.Time
	Cursor string // its position in the journal
}

// FollowUnits calls fn with each entry of the reported units after the cursor, or since the given time if the cursor is
// empty. Because journalctl takes several megabytes, FollowUnits returns nil when no reported unit runs and no entry
// came for a while. It also returns nil if the host has no journalctl.
func FollowUnits(ctx context.Context, root, cursor string, since time.Time, fn func(UnitLine)) error {
	j, err := startJournal(root, unitArguments(cursor, since))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = j.Close() })
	err = j.follow(root, cursor, fn)
	stop()
	_ = j.Close()
	return err
}

// unitArguments returns the command line of journalctl. It starts at the cursor, not after it: if the entry of the
// cursor is gone, --after-cursor would skip one entry too many.
func unitArguments(cursor string, since time.Time) []string {
	query := "journalctl --quiet --follow --no-tail --all --output=json --output-fields=MESSAGE,PRIORITY"
	for _, unit := range reportedUnits {
		query += " _SYSTEMD_UNIT=" + unit
	}
	if cursor != "" {
		return append(strings.Fields(query), "--cursor="+cursor)
	}
	at := strconv.FormatInt(since.UnixMilli(), 10)
	return append(strings.Fields(query), "--since=@"+at[:len(at)-3]+"."+at[len(at)-3:])
}

// follow reads entries until journalctl ends or no reported unit runs.
func (j *journal) follow(root, cursor string, fn func(UnitLine)) error {
	lines, quiet := bufio.NewReader(j.out), minQuiet
	for entry := []byte(nil); ; {
		_ = j.out.SetReadDeadline(time.Now().Add(quiet))
		part, err := lines.ReadSlice('\n')
		entry = append(entry, part[:min(len(part), maxEntry-len(entry))]...)
		switch {
		case err == nil:
			if l, ok := parseEntry(entry); ok && l.Cursor != cursor {
				fn(l)
			}
			entry, quiet = nil, minQuiet
		case err == bufio.ErrBufferFull:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("follow the journal: %w", err)
		case !anyUnit(root, groupPlaces):
			return nil
		default:
			quiet = min(2*quiet, maxQuiet)
		}
	}
}

// parseEntry decodes an entry. It returns false if the entry has no message or is truncated.
func parseEntry(entry []byte) (l UnitLine, ok bool) {
	var e struct {
		Cursor   string          `json:"__CURSOR"`
		At       string          `json:"__REALTIME_TIMESTAMP"` // microseconds since 1970
		Priority string          `json:"PRIORITY"`
		Message  json.RawMessage `json:"MESSAGE"`
	}
	_ = json.Unmarshal(entry, &e) // fails partly if a repeated field is an array
	at, err := strconv.ParseInt(e.At, 10, 64)
	if err != nil || e.Cursor == "" {
		return l, false
	}
	var text string
	if json.Unmarshal(e.Message, &text) == nil {
		l.Text = []byte(text)
	} else if json.Unmarshal(e.Message, &l.Text) != nil { // an array of bytes, if they are not UTF-8
		return l, false
	}
	l.At, l.Cursor = time.Unix(at/1e6, at%1e6*1e3), e.Cursor
	l.Stderr = len(e.Priority) == 1 && e.Priority <= "3"
	return l, true
}
