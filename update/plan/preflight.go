package plan

import (
	"maps"
	"slices"

	"resin-supervisor/update/compose"
)

// killsFirst names the strategies that stop the old container before the download.
func killsFirst(s compose.Strategy) bool {
	return s == compose.KillThenDownload || s == compose.DeleteThenDownload
}

// killFirst stops a container for a release whose images are still to come, once it is known of all of
// them that they can be had: nothing starts before all are here.
func (pl *appPlanner) planKillFirst(p *pair, reason string) {
	switch {
	case pl.wrongPlatform:
		pl.addWait(p.name, "stays: "+pl.blocked)
	case !pl.unchecked:
		pl.addLocked(pl.killForUpdate(p, reason))
		return
	case !pl.preflight:
		pl.preflight = true
		s := pl.step(Look, "look", "service "+p.name+" is to be stopped before the download")
		s.Images, s.IDs, s.Commit = slices.Sorted(maps.Keys(pl.missingImages)), pl.deletedFirst(), pl.want.Commit
		pl.add(s)
	}
	pl.keepOldRunning(p)
}

// going lists the images (by engine id) that the strategy deletes before the download: those of which all
// records are of services that are replaced that way.
func (pl *appPlanner) deletedFirst() []string {
	going, stays := make(map[string]bool), make(map[string]bool)
	for _, r := range pl.cur.Records {
		p := pl.pairs[r.ServiceName]
		if r.AppUUID == pl.uuid && pl.cur.Images[r.EngineID] != nil && !pl.opts.Kept[r.Image()] && p != nil && p.want != nil && pl.missingImages[p.want.Image] && p.want.Strategy == compose.DeleteThenDownload {
			going[r.EngineID] = true
		} else {
			stays[r.EngineID] = true
		}
	}
	for id := range stays {
		delete(going, id)
	}
	return slices.Sorted(maps.Keys(going))
}
