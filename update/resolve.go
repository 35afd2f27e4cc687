package update

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// resolver turns the target state into what the planner works towards, and does so again only when
// the target, the device's facts, the keys or the images changed.
type resolver struct {
	log    zerolog.Logger
	say    voice
	target *target.State
	facts  compose.Facts
	keys   Keys
	book   *book
	told   map[string]string    // app uuid -> what was logged of it last
	since  map[string]time.Time // the same -> and when

	stale  bool
	images uint64 // current.State.ImageRevision of the last result
	result plan.Target
	// rolledBack says of apps (uuid) that the release before applies, and why.
	rolledBack map[string]string
}

// Keys is what the update loop asks of the keyring: the API key of a service, made durable at its
// first use, and the adoption of keys that running containers already have.
type Keys interface {
	Service(appID int, service string) (string, error)
	Adopt(appID int, service, key string) (bool, error)
}

// wanted lists the images of the target and of containers that were not inspected yet, none while the last
// result holds.
func (r *resolver) wanted(cur *current.State) []string {
	if r.fresh(cur) {
		return nil
	}
	ids, images := make(map[string]bool), cur.Finder()
	for _, a := range r.target.Apps {
		if a, _ = r.instead(a); a.Release == nil {
			continue
		}
		for _, s := range a.Release.Services {
			if image := images.Find(s.Image); image != nil && image.Doc == nil {
				ids[image.ID] = true
			}
		}
	}
	for _, c := range cur.Containers {
		if image := cur.Images[c.ImageEngine]; image != nil && image.Doc == nil {
			ids[image.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

func (r *resolver) fresh(cur *current.State) bool { return !r.stale && r.images == cur.ImageRevision }

// apps is the resolved target, for which no image is wanted any more. It is read only.
func (r *resolver) apps(cur *current.State) plan.Target {
	if r.fresh(cur) {
		return r.result
	}
	r.rolledBack = make(map[string]string)
	r.stale, r.images = false, cur.ImageRevision
	r.result = make(plan.Target, len(r.target.Apps))
	clash, images := clashes(r.target), cur.Finder()
	for uuid, a := range r.target.Apps {
		applied, why := r.instead(a)
		if why != "" {
			r.rolledBack[uuid] = why
		}
		r.result[uuid] = r.app(applied, images, clash[uuid])
	}
	return r.result
}

// app resolves one app. One that cannot be, or that clashes with another one, is rejected: what runs of it stays
// as it is.
func (r *resolver) app(a *target.App, images *current.Finder, clash error) *compose.App {
	var keyErr error
	facts := r.facts
	facts.DeviceName = deviceName(r.target)
	config := r.target.Config
	facts.Strategy, facts.HandoverTimeout = config["SUPERVISOR_UPDATE_STRATEGY"], config["SUPERVISOR_HANDOVER_TIMEOUT"]
	facts.ServiceKey = func(appID int, service string) string {
		key, err := r.keys.Service(appID, service)
		keyErr = errors.Join(keyErr, err)
		return key
	}
	resolved, err := compose.Resolve(a, &facts, func(ref string) *doc.Image {
		if image := images.Find(ref); image != nil {
			return image.Doc
		}
		return nil
	})
	if err = errors.Join(err, keyErr, clash); err != nil {
		resolved = &compose.App{ID: a.ID, UUID: a.UUID, Name: a.Name, Class: a.Class, IsHost: a.IsHost, Rejected: err.Error()}
		r.stale = r.stale || keyErr != nil // a key that could not be stored may be storable later
		if !r.isTold(resolved.Rejected) {  // of a clash both apps have it
			r.say(notMoved+strings.ReplaceAll(resolved.Rejected, "\n", "; "), true)
		}
	}
	r.tell(resolved)
	return resolved
}

// uncomposable says which apps of a target ask for what cannot be honoured, whatever their images are.
func (r *resolver) uncomposable(s *target.State) (lines []string) {
	for _, err := range clashes(s) {
		lines = append(lines, err.Error())
	}
	slices.Sort(lines)
	lines = slices.Compact(lines) // both apps have it
	for _, uuid := range slices.Sorted(maps.Keys(s.Apps)) {
		if _, err := compose.Resolve(s.Apps[uuid], &r.facts, func(string) *doc.Image { return nil }); err != nil {
			lines = append(lines, err.Error())
		}
	}
	return lines
}

// clashes says of apps (by uuid) why two of them cannot be on the device together: an id is of one app, and the
// engine gives a name to one container (docs/spec/engine.md 2.5). Apps that were made from one template may have
// both in common.
func clashes(s *target.State) map[string]error {
	found, owners := make(map[string]error), make(map[string]*target.App)
	for _, uuid := range slices.Sorted(maps.Keys(s.Apps)) {
		a := s.Apps[uuid]
		if a.ID != target.UnknownID {
			own(found, owners, a, "id "+strconv.Itoa(a.ID))
		}
		if a.Release == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(a.Release.Services)) {
			own(found, owners, a, "container "+compose.ContainerName(name, a.Release.Services[name].ImageID, a.Release.ID, a.Release.Commit))
		}
	}
	return found
}

// own gives an app what can be of one app only, or notes that another one has it.
func own(found map[string]error, owners map[string]*target.App, a *target.App, thing string) {
	other := owners[thing]
	if other == nil {
		owners[thing] = a
	} else if found[a.UUID] == nil {
		found[a.UUID] = errors.New("apps " + other.Name + " (uuid " + other.UUID + ") and " + a.Name + " (uuid " + a.UUID + ") both have the " + thing +
			": give one of them another id, and its release another id or commit")
		found[other.UUID] = found[a.UUID]
	}
}

// deviceName is the name of the device; one that was never told has the name local.
func deviceName(t *target.State) string {
	if t.Name == "" {
		return "local"
	}
	return t.Name
}

func (r *resolver) isTold(text string) bool {
	for _, told := range r.told {
		if told == text {
			return true
		}
	}
	return false
}

// tell logs what is wrong with an app, once for as long as it stays the same.
func (r *resolver) tell(a *compose.App) {
	text := a.Rejected
	for _, w := range a.Warnings {
		text += "\n" + w
	}
	if r.told[a.UUID] == text {
		return
	}
	r.told[a.UUID], r.since[a.UUID] = text, time.Now()
	if a.Rejected != "" {
		r.log.Error().Str("app", a.Name).Str("reason", a.Rejected).Msg("app rejected, what runs of it stays")
	}
	for _, w := range a.Warnings {
		r.log.Warn().Str("app", a.Name).Str("reason", w).Msg("part of the composition is ignored")
	}
}

// adopt takes over the API keys of containers that another supervisor, or a lost keyring, gave them,
// so that they need not be made anew (docs/spec/cloud.md 7.6).
func adoptKeys(cur *current.State, keys Keys, log zerolog.Logger) {
	for _, id := range slices.Sorted(maps.Keys(cur.Containers)) {
		c := cur.Containers[id]
		key := envValue(c.Env, "BALENA_SUPERVISOR_API_KEY")
		if key == "" {
			continue
		}
		adopted, err := keys.Adopt(c.AppID, c.ServiceName, key)
		if err != nil {
			log.Error().Err(err).Str("service", c.ServiceName).Msg("API key of a running container was not adopted")
		} else if adopted {
			log.Info().Str("service", c.ServiceName).Msg("API key of a running container adopted")
		}
	}
}

func envValue(env []string, name string) string {
	for _, e := range env {
		if len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
			return e[len(name)+1:]
		}
	}
	return ""
}
