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
func (w *work) killFirst(p *pair, reason string) {
	switch {
	case w.refused:
		w.wait(p.name, "stays: "+w.hold)
	case !w.unseen:
		w.locked(w.takeDown(p, reason))
		return
	case !w.looking:
		w.looking = true
		s := w.step(Look, "look", "service "+p.name+" is to be stopped before the download")
		s.Images, s.IDs, s.Commit = slices.Sorted(maps.Keys(w.missing)), w.going(), w.want.Commit
		w.add(s)
	}
	w.revive(p)
}

// going lists the images (by engine id) that the strategy deletes before the download: those of which all
// records are of services that are replaced that way.
func (w *work) going() []string {
	going, stays := make(map[string]bool), make(map[string]bool)
	for _, r := range w.cur.Records {
		p := w.pairing[r.ServiceName]
		if r.AppUUID == w.uuid && w.cur.Images[r.EngineID] != nil && !w.opts.Kept[r.Image()] && p != nil && p.want != nil && w.missing[p.want.Image] && p.want.Strategy == compose.DeleteThenDownload {
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
