package plan

import (
	"maps"
	"slices"
	"sort"

	"resin-supervisor/update/current"
)

// unusedImages plans the removal of images that neither a container nor the target uses (docs/spec/engine.md 8.6).
// An app's images stay until its update is done: a rollback to the running release needs no download, and a delta
// has its source. When the engine's storage is full, images of abandoned releases are removed before that.
func unusedImages(cur *current.State, apps map[string]*app, o *Options, planned []Step) []Step {
	if len(cur.Pulls) > 0 {
		return nil
	}
	unfinished := maps.Clone(o.Busy)
	if unfinished == nil {
		unfinished = make(map[string]bool)
	}
	for uuid := range o.Intermediate {
		unfinished[uuid] = true
	}
	for uuid, a := range apps {
		if a.want != nil && a.want.Rejected != "" {
			unfinished[uuid] = true
		}
	}
	updating := make(map[string]bool)
	used := usedRecords(cur, apps)
	for _, s := range planned {
		updating[s.AppUUID] = true
		for _, r := range s.Records {
			updating[r.AppUUID] = true
			if s.Kind != Fetch {
				continue
			}
			if from := apps[r.AppUUID].deltaSource(r); from != nil {
				used[from.Key()] = true
			}
		}
	}
	drop := make(map[string][]current.Record)
	for key, r := range cur.Records {
		needed := used[key] || unfinished[r.AppUUID] || o.Kept[r.Image()]
		if updating[r.AppUUID] {
			needed = needed || !o.NoSpace || r.Commit == cur.Commits[r.AppUUID]
		}
		if !needed {
			drop[r.Image()] = append(drop[r.Image()], r)
		}
	}
	var steps []Step
	for _, name := range slices.Sorted(maps.Keys(drop)) {
		sortRecords(drop[name])
		r := drop[name][0]
		steps = append(steps, Step{Kind: RemoveImage, Key: "image " + name, Image: name, Records: drop[name],
			AppUUID: r.AppUUID, AppID: r.AppID, Reason: "no container and no target service uses it"})
	}
	return steps
}

// usedRecords finds the records that a target service or a container uses. A container uses the record of its own
// service and release. Without that record it uses every record of its image.
func usedRecords(cur *current.State, apps map[string]*app) map[string]bool {
	used := make(map[string]bool, len(cur.Records))
	for _, a := range apps {
		if a.want == nil {
			continue
		}
		pl := appPlanner{app: a}
		for _, s := range a.want.Services {
			used[pl.record(s).Key()] = true
		}
	}
	use := func(image, service, commit string) string { return image + " " + service + " " + commit }
	exact := make(map[string]bool, len(cur.Containers)) // whether this exact use has a record
	for _, c := range cur.Containers {
		exact[use(c.ImageEngine, c.ServiceName, c.Commit)] = false
	}
	for key, r := range cur.Records {
		u := use(r.EngineID, r.ServiceName, r.Commit)
		if _, is := exact[u]; is {
			used[key], exact[u] = true, true
		}
	}
	allRecords := make(map[string]bool) // images whose every record is used
	for _, c := range cur.Containers {
		if !exact[use(c.ImageEngine, c.ServiceName, c.Commit)] {
			allRecords[c.ImageEngine] = true
		}
	}
	for key, r := range cur.Records {
		if allRecords[r.EngineID] {
			used[key] = true
		}
	}
	return used
}

func sortRecords(list []current.Record) {
	sort.Slice(list, func(i, j int) bool { return list[i].Key() < list[j].Key() })
}

// deltaSource is the image that a delta to a wanted image starts from: the service's image of the last fully applied
// release, or else its first image on the device (docs/spec/engine.md 8.5). It is nil when there is none.
func (a *app) deltaSource(want current.Record) *current.Record {
	var from *current.Record
	for _, r := range a.recordsOf(want.ServiceName) {
		if r.Name == want.Name || r.Former || a.cur.Images[r.EngineID] == nil {
			continue
		}
		if r.Commit == a.cur.Commits[a.uuid] {
			return &r
		}
		if from == nil {
			from = &r
		}
	}
	return from
}

// recordsOf lists the image records of a service, sorted by key.
func (a *app) recordsOf(service string) []current.Record {
	if a.index.records == nil {
		a.index.records = make(map[string][]current.Record, len(a.cur.Records))
		for _, r := range a.cur.Records {
			slot := current.Slot(r.AppUUID, r.ServiceName)
			a.index.records[slot] = append(a.index.records[slot], r)
		}
		for _, list := range a.index.records {
			sortRecords(list)
		}
	}
	return a.index.records[current.Slot(a.uuid, service)]
}

// limitPulls merges the steps that services plan for the same image. It turns a download that runs already, and each
// one beyond the free slots, into a wait; full says why no slot is free.
func limitPulls(cur *current.State, steps []Step, slots int, full string) []Step {
	kept := steps[:0]
	at := make(map[string]int)
	for _, s := range steps {
		if s.Kind != Fetch && s.Kind != Save {
			kept = append(kept, s)
			continue
		}
		if i, merged := at[s.Image]; merged {
			kept[i].Records = append(kept[i].Records, s.Records...)
			continue
		}
		s.Records = slices.Clip(s.Records) // so that append copies it
		if s.Kind == Save {
			at[s.Image] = len(kept)
		} else if _, running := cur.Pulls[s.Image]; running {
			s.Kind = Wait
			s.Key += " wait"
		} else if slots <= 0 {
			s.Kind = Wait
			s.Key += " wait"
			s.Reason += ", and " + full
		} else {
			slots--
			at[s.Image] = len(kept)
		}
		kept = append(kept, s)
	}
	return kept
}
