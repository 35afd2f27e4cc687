package client

import (
	"cmp"
	"fmt"
	"strings"

	"resin-supervisor/api"
)

// row is one line of an app: a service, how it is, and the rest.
type row struct {
	_ [0]func() // nobody compares it: no code for that

	name, word, rest string
}

// rowsOf lists the services of the target, each with its containers and its download, and then the
// containers of services that are on their way out.
func rowsOf(a *api.OverviewApp) []row {
	var rows []row
	wanted := map[string]bool{}
	for _, s := range a.Services {
		wanted[s.Name] = true
		rows = append(rows, serviceRows(a, s)...)
	}
	for i := range a.Containers {
		if c := &a.Containers[i]; !wanted[c.ServiceName] {
			rows = append(rows, containerRow(c))
		}
	}
	return rows
}

func serviceRows(a *api.OverviewApp, s api.OverviewService) []row {
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
		r := row{name: s.Name, word: i.Status}
		if i.Progress != nil {
			r.rest = bar(*i.Progress)
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return []row{{name: s.Name, word: "Waiting", rest: cmp.Or(s.Waits, "image not downloaded yet")}}
	}
	last := &rows[len(rows)-1]
	last.rest = joinWith(s.Waits, last.rest)
	return rows
}

func containerRow(c *api.OverviewContainer) row {
	r := row{name: c.ServiceName, word: c.Status, rest: c.Reason}
	if c.Health != "" && c.Running {
		r.word += " (" + c.Health + ")"
	}
	if c.Status == "exited" {
		r.word = fmt.Sprintf("exited (%d)", c.ExitCode)
	}
	switch {
	case c.Restarts == 1:
		r.rest = joinWith("restarted once", r.rest)
	case c.Restarts > 1:
		r.rest = joinWith(fmt.Sprintf("restarted %d times", c.Restarts), r.rest)
	}
	if c.Error != "" {
		r.rest = joinWith(r.rest, c.Error)
	}
	return r
}

func joinWith(a, b string) string {
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
