package client

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"resin-supervisor/api/overview"
)

// The columns of the page, in characters.
const (
	width      = 79 // on a console of 80 columns the 80th character would start a new line
	nameWidth  = 20
	stateWidth = 20
	barWidth   = 24
)

// Page shows the overview to people, in 80 columns: the device, each app with its services, and the problems. It is
// printable ASCII, so nothing in it can control a terminal.
func Page(o overview.Overview) string {
	p := &page{now: o.Time}
	p.device(&o)
	for i := range o.Apps {
		p.app(&o.Apps[i], o.HasTarget)
	}
	if o.Synced && len(o.Apps) == 0 {
		p.line("")
		p.line("No apps.")
	}
	p.problems(o.Problems)
	return p.text.String()
}

type page struct {
	text strings.Builder
	now  time.Time
}

// line writes one line, cut to the width of the page.
func (p *page) line(s string) {
	p.text.WriteString(strings.TrimRight(clip(plain(s), width), " "))
	p.text.WriteByte('\n')
}

// wrapped writes first and then s. Where s needs more lines, they are indented to the start of s.
func (p *page) wrapped(first, s string) {
	indent := len([]rune(first))
	lines := wrap(plain(s), width-indent)
	if len(lines) == 0 {
		lines = []string{""}
	}
	for i, l := range lines {
		if i > 0 {
			first = strings.Repeat(" ", indent)
		}
		p.line(first + l)
	}
}

func (p *page) device(o *overview.Overview) {
	d := &o.Device
	p.wrapped("Device      ", cmp.Or(d.Name, "(no name)")+", "+phase(o))
	p.fact("Board       ", d.DeviceType, d.Arch, d.OSVersion, degrees(d.CPUCelsius))
	p.fact("Network     ", cmp.Or(d.IPAddress, "no address"), d.MACAddress)
	p.fact("Cloud       ", cloud(d))
	p.fact("Supervisor  ", d.SupervisorVersion, fmt.Sprintf("port %d", d.APIPort), p.uptime(o.Started), size(d.MemoryBytes))
	p.fact("Locks       ", locks(o)...)
	if o.EngineError != "" {
		p.wrapped("Engine      ", "unreachable: "+o.EngineError)
	}
	if o.NextAttempt.After(o.Time) {
		p.fact("Next try    ", "in "+span(o.NextAttempt.Sub(o.Time)))
	}
}

// fact writes a line with the facts that are not empty. It writes none when all are.
func (p *page) fact(title string, facts ...string) {
	known := facts[:0]
	for _, f := range facts {
		if f != "" {
			known = append(known, f)
		}
	}
	if len(known) > 0 {
		p.wrapped(title, strings.Join(known, ", "))
	}
}

func degrees(celsius float64) string {
	if celsius == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f degrees", celsius)
}

func cloud(d *overview.Device) string {
	if !d.Managed {
		return "none"
	}
	s := "not reachable"
	if d.CloudReachable {
		s = "reachable"
	}
	if !d.Registered {
		s += ", not registered yet"
	}
	if d.LocalMode {
		s += ", local mode"
	}
	return s
}

func (p *page) uptime(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return "up " + span(p.now.Sub(since))
}

func size(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// locks lists who holds the update lock of which app.
func locks(o *overview.Overview) []string {
	var held []string
	for i := range o.Apps {
		a := &o.Apps[i]
		if a.UserLock != "" {
			held = append(held, "service "+a.UserLock+" of app "+title(a))
		}
		if a.LockHeld {
			held = append(held, "the supervisor of app "+title(a))
		}
	}
	return held
}

func title(a *overview.App) string { return cmp.Or(a.Name, a.UUID) }

// phase is what the device does, in a few words.
func phase(o *overview.Overview) string {
	switch {
	case !o.Synced:
		return "waiting for the container engine"
	case o.Failed && o.Applying:
		return "updating, with failures" + downloads(o)
	case o.Failed:
		return "update failed"
	case !o.HasTarget && o.Device.Managed:
		return "no target from the cloud yet"
	case !o.HasTarget:
		return "no target yet"
	case o.Waiting:
		return "update incomplete" + waiting(o)
	case o.Applying:
		return "updating" + downloads(o)
	case o.Pending:
		return "update pending"
	}
	return "up to date"
}

// waiting lists the services that wait for something.
func waiting(o *overview.Overview) string {
	s := ""
	for i := range o.Apps {
		for _, one := range o.Apps[i].Services {
			if one.Waits != "" {
				s += ", " + one.Name + " waits"
			}
		}
	}
	return s
}

// downloads is the mean progress of all running downloads.
func downloads(o *overview.Overview) string {
	sum, n := 0, 0
	for i := range o.Apps {
		for _, image := range o.Apps[i].Images {
			if image.Progress != nil {
				sum += *image.Progress
				n++
			}
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d%% of %d downloads", sum/n, n)
}

func (p *page) app(a *overview.App, hasTarget bool) {
	release := "stays as it is until there is a target"
	if hasTarget {
		release = releaseOf(a)
	}
	p.line("")
	p.wrapped("", fmt.Sprintf("App %s (%d): %s", title(a), a.ID, release))
	if a.Rejected != "" {
		p.wrapped("  Rejected: ", a.Rejected)
	}
	if a.RolledBack != "" {
		p.wrapped("  Rolled back: ", a.RolledBack)
	}
	if a.Waits != "" {
		p.wrapped("  Waits: ", a.Waits)
	}
	rows := rowsOf(a)
	if len(rows) == 0 {
		p.line("  No services.")
		return
	}
	p.row(row{name: "SERVICE", state: "STATE", detail: "PROGRESS, REASON"})
	for _, r := range rows {
		p.row(r)
	}
}

func releaseOf(a *overview.App) string {
	var s string
	switch {
	case !a.InTarget:
		s = "no longer wanted"
	case a.TargetCommit == "":
		s = "no release"
	case a.Commit == "" || a.Commit == a.TargetCommit:
		s = "release " + short(a.TargetCommit) + ", " + a.UpdateStatus
	default:
		s = "release " + short(a.Commit) + " -> " + short(a.TargetCommit) + ", " + a.UpdateStatus
	}
	return s
}

// row writes the line of a service. A name that is too long for its column gets a line of its own.
func (p *page) row(r row) {
	if len(r.name) >= nameWidth {
		p.wrapped("  ", r.name)
		r.name = ""
	}
	p.wrapped("  "+pad(r.name, nameWidth)+pad(r.state, stateWidth), r.detail)
}

func (p *page) problems(list []overview.Problem) {
	if len(list) == 0 {
		return
	}
	p.line("")
	p.line("Problems")
	for _, one := range list {
		p.wrapped("  ", one.Subject+": "+one.Step+p.ago(one.At))
		if one.Reason != "" {
			p.wrapped("    why:   ", one.Reason)
		}
		if one.Error != "" {
			p.wrapped("    error: ", one.Error)
		}
		if one.Retry.After(p.now) {
			p.wrapped("    next:  ", "in "+span(one.Retry.Sub(p.now)))
		}
	}
}

func (p *page) ago(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	if d := p.now.Sub(at); d >= time.Second {
		return ", " + span(d) + " ago"
	}
	return ", just now"
}
