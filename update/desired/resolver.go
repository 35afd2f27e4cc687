package desired

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
)

// Resolver turns the target state into what the planner works towards. It does so again only when the target, the
// facts of the device, the keys or the images changed. It belongs to one goroutine.
type Resolver struct {
	log    zerolog.Logger
	say    userlog.Voice
	keys   Keys
	ledger *ledger.Ledger
	facts  compose.Facts
	target *target.State     // nil when none was ever set
	logged map[string]logged // what was logged of each app (uuid) last

	stale  bool
	images uint64 // current.State.ImageRevision of the last result
	result map[string]*compose.App
	// rollbacks say of apps (uuid) that the release before applies, and why.
	rollbacks map[string]string
}

// logged is what was logged of an app, and when.
type logged struct {
	text string
	at   time.Time
}

// Keys is what the resolver asks of the keyring: the API key of a service, which becomes durable at its first use, and
// to adopt keys that running containers already have.
type Keys interface {
	Service(appID int, service string) (string, error)
	Adopt(appID int, service, key string) (bool, error)
}

// NewResolver is a resolver of a target, which is nil when none was ever set. ServiceKey of the facts is ignored.
func NewResolver(t *target.State, f compose.Facts, k Keys, l *ledger.Ledger, say userlog.Voice, log zerolog.Logger) *Resolver {
	return &Resolver{log: log, say: say, keys: k, ledger: l, facts: f, target: t, logged: make(map[string]logged), stale: true}
}

// Target is the target state, nil when none was ever set.
func (r *Resolver) Target() *target.State { return r.target }

// SetTarget replaces the target state.
func (r *Resolver) SetTarget(t *target.State) {
	r.target, r.stale = t, true
	maps.DeleteFunc(r.logged, func(uuid string, _ logged) bool { return t.Apps[uuid] == nil })
}

// SetFacts replaces what the device contributes to its containers. It tells whether anything changed.
func (r *Resolver) SetFacts(f compose.Facts) bool {
	if reflect.DeepEqual(f, r.facts) {
		return false
	}
	r.facts, r.stale = f, true
	return true
}

// Invalidate makes the next Apps resolve again: a key, or the release that applies, changed.
func (r *Resolver) Invalidate() { r.stale = true }

// NotInspected lists the images (engine id) of the target and of containers that were not inspected yet. There are
// none while the last result holds.
func (r *Resolver) NotInspected(cur *current.State) []string {
	if r.Resolved(cur) {
		return nil
	}
	ids, images := make(map[string]bool), cur.Finder()
	for _, a := range r.target.Apps {
		if a, _ = r.applied(a); a.Release == nil {
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

// Resolved tells whether the last result of Apps holds.
func (r *Resolver) Resolved(cur *current.State) bool {
	return !r.stale && r.images == cur.ImageRevision
}

// Apps is the resolved target, by uuid, once NotInspected lists no image. It must not be changed. rollbacks say of apps
// that the release before applies, and why.
func (r *Resolver) Apps(cur *current.State) (apps map[string]*compose.App, rollbacks map[string]string) {
	if r.Resolved(cur) {
		return r.result, r.rollbacks
	}
	r.rollbacks = make(map[string]string)
	r.stale, r.images = false, cur.ImageRevision
	r.result = make(map[string]*compose.App, len(r.target.Apps))
	clash, images := clashes(r.target), cur.Finder()
	for uuid, a := range r.target.Apps {
		applied, why := r.applied(a)
		if why != "" {
			r.rollbacks[uuid] = why
		}
		r.result[uuid] = r.app(applied, images, clash[uuid])
	}
	return r.result, r.rollbacks
}

// applied is the app to be applied for an app of the target. That is the release before, with the reason, when the
// release of the target failed its health gate.
func (r *Resolver) applied(a *target.App) (app *target.App, why string) {
	h := r.ledger.History(a.UUID)
	failed := h.Failed
	if failed == nil {
		return a, ""
	}
	if digest, err := ledger.Digest(a); err != nil || digest != failed.Digest {
		return a, ""
	}
	before := h.Before(a.UUID)
	if before == nil {
		return a, ""
	}
	return before, "release " + failed.Commit + " failed: " + failed.Reason
}

// app resolves one app. An app that cannot be resolved, or that clashes with another app, is rejected: what runs of it
// stays as it is.
func (r *Resolver) app(a *target.App, images *current.Finder, clash error) *compose.App {
	var keyErr error
	facts := r.facts
	facts.DeviceName = r.target.DeviceName()
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
		r.stale = r.stale || keyErr != nil  // a key that could not be stored now may be stored later
		if !r.isLogged(resolved.Rejected) { // both apps of a clash have it
			r.say(userlog.NotMoved+strings.ReplaceAll(resolved.Rejected, "\n", "; "), true)
		}
	}
	r.logProblems(resolved)
	return resolved
}

// Refuses says what of a target cannot be honoured, whatever the images are. It is empty for a target that can.
func (r *Resolver) Refuses(s *target.State) (lines []string) {
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

// own notes that an app has what only one app may have, or that another app has it already.
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

// RejectedSince is when the present reason to reject an app came up.
func (r *Resolver) RejectedSince(uuid string) time.Time { return r.logged[uuid].at }

func (r *Resolver) isLogged(text string) bool {
	for _, l := range r.logged {
		if l.text == text {
			return true
		}
	}
	return false
}

// logProblems logs what is wrong with an app, once for as long as it stays the same.
func (r *Resolver) logProblems(a *compose.App) {
	text := a.Rejected
	for _, w := range a.Warnings {
		text += "\n" + w
	}
	if r.logged[a.UUID].text == text {
		return
	}
	r.logged[a.UUID] = logged{text, time.Now()}
	if a.Rejected != "" {
		r.log.Error().Str("app", a.Name).Str("reason", a.Rejected).Msg("app rejected, what runs of it stays")
	}
	for _, w := range a.Warnings {
		r.log.Warn().Str("app", a.Name).Str("reason", w).Msg("part of the composition is ignored")
	}
}

// AdoptKeys takes over the API keys that another supervisor, or a lost keyring, gave to containers. The containers need
// not be made again then (docs/spec/cloud.md 7.6).
func (r *Resolver) AdoptKeys(cur *current.State) {
	for _, id := range slices.Sorted(maps.Keys(cur.Containers)) {
		c := cur.Containers[id]
		key := c.EnvValue("BALENA_SUPERVISOR_API_KEY")
		if key == "" {
			continue
		}
		adopted, err := r.keys.Adopt(c.AppID, c.ServiceName, key)
		if err != nil {
			r.log.Error().Err(err).Str("service", c.ServiceName).Msg("API key of a running container was not adopted")
		} else if adopted {
			r.log.Info().Str("service", c.ServiceName).Msg("API key of a running container adopted")
		}
	}
}
