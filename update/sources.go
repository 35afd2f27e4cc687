package update

import (
	"maps"
	"slices"

	"resin-supervisor/update/current"
	"resin-supervisor/update/view"
)

// attacher tells who follows the output of containers which ones there are (docs/spec/cloud.md 5.6).
type attacher struct {
	attach func([]view.LogSource)
	last   []view.LogSource
	at     uint64 // current.State.Revision of last
}

// show takes a current state, and tells of it when something changed for the log.
func (a *attacher) show(cur *current.State) {
	if a.attach == nil || !cur.Synced || a.last != nil && a.at == cur.Revision {
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
			ID: id, AppID: c.AppID, ServiceID: c.ServiceID, ServiceName: c.ServiceName, Level: envValue(c.Env, "BALENA_LOGS_LEVEL"),
			StartedAt: c.StartedAt, Running: c.Running, Tty: c.Tty,
		})
	}
	if a.last == nil || !slices.Equal(now, a.last) {
		a.last = now
		a.attach(now)
	}
}
