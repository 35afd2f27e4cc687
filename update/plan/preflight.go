package plan

import (
	"maps"
	"slices"

	"resin-supervisor/update/compose"
)

// killsFirst reports whether a strategy stops the old container before the download.
func killsFirst(s compose.Strategy) bool {
	return s == compose.KillThenDownload || s == compose.DeleteThenDownload
}

// planKillFirst stops a container before the download. The preflight comes first: it checks that every missing image
// can be pulled, because no service starts before all images are on the device.
func (pl *appPlanner) planKillFirst(p *pair, reason string) {
	switch {
	case pl.wrongPlatform:
		pl.addWait(p.name, "stays: "+pl.blocked)
	case !pl.unchecked:
		pl.addLocked(pl.killForUpdate(p, reason))
		return
	case !pl.preflight:
		pl.preflight = true
		s := pl.step(Look, "preflight", "service "+p.name+" is to be stopped before the download")
		s.Images, s.IDs, s.Commit = slices.Sorted(maps.Keys(pl.missingImages)), pl.deletedFirst(), pl.want.Commit
		pl.add(s)
	}
	pl.keepOldRunning(p)
}

// deletedFirst lists the images (engine ids) that the strategy deletes before the download: those that only services
// with this strategy use.
func (pl *appPlanner) deletedFirst() []string {
	deleted, stays := make(map[string]bool), make(map[string]bool)
	for _, r := range pl.cur.Records {
		p := pl.pairs[r.ServiceName]
		removable := r.AppUUID == pl.uuid && pl.cur.Images[r.EngineID] != nil && !pl.opts.Kept[r.Image()]
		replaced := p != nil && p.want != nil && pl.missingImages[p.want.Image] && p.want.Strategy == compose.DeleteThenDownload
		if removable && replaced {
			deleted[r.EngineID] = true
		} else {
			stays[r.EngineID] = true
		}
	}
	for id := range stays {
		delete(deleted, id)
	}
	return slices.Sorted(maps.Keys(deleted))
}
