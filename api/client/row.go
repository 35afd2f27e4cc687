package client

import (
	"cmp"
	"fmt"
	"strings"

	"resin-supervisor/api/overview"
)

// row is the line of one service.
type row struct {
	name, state, detail string
}

// rowsOf lists the services of the target, each with its containers and its download, and then the containers that are
// being removed.
func rowsOf(a *overview.App) []row {
	var rows []row
	inTarget := map[string]bool{}
	for _, s := range a.Services {
		inTarget[s.Name] = true
		rows = append(rows, serviceRows(a, s)...)
	}
	for i := range a.Containers {
		if c := &a.Containers[i]; !inTarget[c.ServiceName] {
			rows = append(rows, containerRow(c))
		}
	}
	return rows
}

func serviceRows(a *overview.App, s overview.Service) []row {
	var rows []row
	for i := range a.Containers {
		if c := &a.Containers[i]; c.ServiceName == s.Name {
			rows = append(rows, containerRow(c))
		}
	}
	for _, i := range a.Images {
		if i.ServiceName != s.Name || i.Status != "Downloading" && len(rows) > 0 {
			continue
		}
		r := row{name: s.Name, state: i.Status}
		if i.Progress != nil {
			r.detail = bar(*i.Progress)
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return []row{{name: s.Name, state: "Waiting", detail: cmp.Or(s.Waits, "image not downloaded yet")}}
	}
	last := &rows[len(rows)-1]
	last.detail = joinNonEmpty(s.Waits, last.detail)
	return rows
}

func containerRow(c *overview.Container) row {
	r := row{name: c.ServiceName, state: c.Status, detail: c.Reason}
	if c.Health != "" && c.Running {
		r.state += " (" + c.Health + ")"
	}
	if c.Status == "exited" {
		r.state = fmt.Sprintf("exited (%d)", c.ExitCode)
	}
	switch {
	case c.Restarts == 1:
		r.detail = joinNonEmpty("restarted once", r.detail)
	case c.Restarts > 1:
		r.detail = joinNonEmpty(fmt.Sprintf("restarted %d times", c.Restarts), r.detail)
	}
	if c.Error != "" {
		r.detail = joinNonEmpty(r.detail, c.Error)
	}
	return r
}

func joinNonEmpty(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// bar draws a percentage: [######----] 57%.
func bar(percent int) string {
	percent = min(max(percent, 0), 100)
	full := percent * barWidth / 100
	return fmt.Sprintf("[%s%s] %d%%", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), percent)
}
