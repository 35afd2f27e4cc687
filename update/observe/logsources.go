package observe

import (
	"maps"
	"slices"

	"resin-supervisor/update/current"
	"resin-supervisor/update/view"
)

// LogSources tells who follows the output of containers which containers there are (docs/spec/cloud.md 5.6).
type LogSources struct {
	// Attach takes them. It must not wait; nil means that nobody follows.
	Attach func([]view.LogSource)

	last []view.LogSource
	at   uint64 // current.State.Revision of last
}

// Show takes a current state, and calls Attach when something changed for the log.
func (a *LogSources) Show(cur *current.State) {
	if a.Attach == nil || !cur.Synced || a.last != nil && a.at == cur.Revision {
		return
	}
	a.at = cur.Revision
	now := make([]view.LogSource, 0, len(cur.Containers))
	for _, id := range slices.Sorted(maps.Keys(cur.Containers)) {
		c := cur.Containers[id]
		if c.Name == "balena_supervisor" || c.Name == "resin_supervisor" {
			continue
		}
		now = append(now, view.LogSource{
			ID: id, AppID: c.AppID, ServiceID: c.ServiceID, ServiceName: c.ServiceName, Level: c.EnvValue("BALENA_LOGS_LEVEL"),
			StartedAt: c.StartedAt, Running: c.Running, Tty: c.Tty,
		})
	}
	if a.last == nil || !slices.Equal(now, a.last) {
		a.last = now
		a.Attach(now)
	}
}
