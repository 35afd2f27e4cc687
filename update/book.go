package update

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// Documents is durable storage for small documents, as package store provides it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// book keeps what the engine cannot tell: which images are the agent's, which release of an app was
// last fully applied, which one failed its trial (docs/spec/cloud.md 7.1), which containers the agent stopped,
// and what the engine made otherwise than it was asked to (docs/spec/engine.md 4.2). What it says is durable
// before it shows.
type book struct {
	docs Documents
	cell *cell
	boot string     // the kernel's name for this boot
	mu   sync.Mutex // orders the changes; held while saving so that the next starts from what is durable
	done map[string]history
}

// history is what is kept of one app.
type history struct {
	Commit string          `json:"commit,omitempty"` // last fully applied release
	App    json.RawMessage `json:"app,omitempty"`    // what the target said of the app then
	Failed *failure        `json:"failed,omitempty"`
}

// failure is a release that did not pass its trial. It is not tried again until the target names
// the app in another way.
type failure struct {
	_ [0]func() // nobody compares it: no code for that

	Digest string `json:"digest"` // of what the target says of the app
	Commit string `json:"commit"`
	Reason string `json:"reason"`
}

// The documents of the book.
const (
	imagesDocument   = "images"
	releasesDocument = "releases"
	alteredDocument  = "altered"
	bootDocument     = "boot"
	stopsDocument    = "stops"
	volumesDocument  = "anonymous"
	bookVersion      = 1
)

// openBook reads the book into an empty current state. boot is the kernel's name for this boot.
func openBook(docs Documents, boot string) (*book, error) {
	var records []current.Record
	if _, err := docs.Load(imagesDocument, bookVersion, &records); err != nil {
		return nil, fmt.Errorf("open image records: %w", err)
	}
	b := &book{docs: docs, boot: boot, done: make(map[string]history)}
	if _, err := docs.Load(releasesDocument, bookVersion, &b.done); err != nil {
		return nil, fmt.Errorf("open releases: %w", err)
	}
	var stops map[string]current.Stop
	if _, err := docs.Load(stopsDocument, bookVersion, &stops); err != nil {
		return nil, fmt.Errorf("open stops: %w", err)
	}
	for id, s := range stops {
		if s.User && s.Boot != boot { // it lasts until the device boots again
			delete(stops, id)
		}
	}
	var anonymous map[string]current.Anonymous
	if _, err := docs.Load(volumesDocument, bookVersion, &anonymous); err != nil {
		return nil, fmt.Errorf("open anonymous volumes: %w", err)
	}
	byKey := make(map[string]current.Record, len(records))
	for _, r := range records {
		byKey[r.Key()] = r
	}
	initial := current.Empty().WithRecords(byKey).WithCommits(commits(b.done)).WithStops(stops).WithAnonymous(anonymous)
	if _, err := docs.Load(alteredDocument, bookVersion, &initial.Altered); err != nil {
		return nil, fmt.Errorf("open differences of the engine: %w", err)
	}
	b.cell = newCell(initial)
	return b, nil
}

func commits(done map[string]history) map[string]string {
	m := make(map[string]string, len(done))
	for uuid, h := range done {
		if h.Commit != "" {
			m[uuid] = h.Commit
		}
	}
	return m
}

// add records images of services. An image whose tag has passed to another one stays recorded as ours, so
// that it goes once nothing uses it.
func (b *book) add(records []current.Record) error {
	return b.records(func(m map[string]current.Record) {
		for _, r := range records {
			for key, old := range m {
				if old.Name == r.Name && old.EngineID != r.EngineID && !old.Former && !strings.Contains(r.Name, "@") {
					delete(m, key)
					old.Former = true
					m[old.Key()] = old
				}
			}
			m[r.Key()] = r
		}
	})
}

// drop forgets records.
func (b *book) drop(records []current.Record) error {
	return b.records(func(m map[string]current.Record) {
		for _, r := range records {
			delete(m, r.Key())
		}
	})
}

func (b *book) records(change func(map[string]current.Record)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.cell.load().Records)
	change(next)
	list := make([]current.Record, 0, len(next))
	for _, key := range slices.Sorted(maps.Keys(next)) {
		list = append(list, next[key])
	}
	if err := b.docs.Save(imagesDocument, bookVersion, list); err != nil {
		return fmt.Errorf("store image records: %w", err)
	}
	b.cell.fold(func(s *current.State) *current.State { return s.WithRecords(next) })
	return nil
}

// commit notes the release an app reached and what the target said of it; without a commit the app
// is forgotten.
func (b *book) commit(appUUID, release string, app *target.App) error {
	return b.releases(func(m map[string]history) error {
		if release == "" {
			delete(m, appUUID)
			return nil
		}
		raw, err := encodeApp(app)
		h := history{Commit: release, App: raw}
		if m[appUUID].Commit == release {
			h.Failed = m[appUUID].Failed
		}
		m[appUUID] = h
		return err
	})
}

// fail notes that a release did not pass its trial.
func (b *book) fail(appUUID string, app *target.App, reason string) error {
	return b.releases(func(m map[string]history) error {
		digest, err := digestOf(app)
		h := m[appUUID]
		if h.before(appUUID) == nil {
			return errors.New("roll back app " + app.Name + ": what the target said of the release before is lost")
		}
		h.Failed = &failure{Digest: digest, Commit: app.Release.Commit, Reason: reason}
		m[appUUID] = h
		return err
	})
}

// alter notes what the engine made otherwise of an object. It shows also when it cannot be stored: then the
// object is made once more after a restart of the agent.
func (b *book) alter(id string, a compose.Altered) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cell.fold(func(s *current.State) *current.State { return s.WithAltered(id, a) })
	if err := b.docs.Save(alteredDocument, bookVersion, b.cell.load().Altered); err != nil {
		return fmt.Errorf("store differences of the engine: %w", err)
	}
	return nil
}

func (b *book) releases(change func(map[string]history) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.done)
	if err := change(next); err != nil {
		return err
	}
	if err := b.docs.Save(releasesDocument, bookVersion, next); err != nil {
		return fmt.Errorf("store releases: %w", err)
	}
	b.done = next
	b.cell.fold(func(s *current.State) *current.State { return s.WithCommits(commits(next)) })
	return nil
}

// stopping notes that a container is about to be stopped, for an update or because a user wants it; replaced
// says that it is removed next.
func (b *book) stopping(c *current.Container, user, replaced bool) error {
	return b.stop(c.ID, current.Stop{Run: c.StartedAt, User: user, Replaced: replaced, Boot: b.boot})
}

// starting forgets the stop of a container that a user wants to run.
func (b *book) starting(id string) error { return b.stop(id, current.Stop{}) }

// stop replaces the stop of a container, the zero one by none. Those of containers that are gone or were
// started again go with it.
func (b *book) stop(id string, stop current.Stop) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	cur := b.cell.load()
	if cur.Stops[id] == stop {
		return nil
	}
	next := make(map[string]current.Stop)
	for other, old := range cur.Stops {
		if c := cur.Containers[other]; other != id && c != nil && old.Run.Equal(c.StartedAt) {
			next[other] = old
		}
	}
	if stop != (current.Stop{}) {
		next[id] = stop
	}
	if err := b.docs.Save(stopsDocument, bookVersion, next); err != nil {
		return fmt.Errorf("store stops: %w", err)
	}
	b.cell.fold(func(s *current.State) *current.State { return s.WithStops(next) })
	return nil
}

// keepVolumes notes that the anonymous volumes of a container outlive it.
func (b *book) keepVolumes(c *current.Container) error {
	return b.volumes(func(m map[string]current.Anonymous) {
		for name, path := range c.Anonymous {
			m[name] = current.Anonymous{AppID: c.AppID, Service: c.ServiceName, Path: path, Image: c.ImageEngine}
		}
	})
}

// dropVolume forgets an anonymous volume.
func (b *book) dropVolume(name string) error {
	return b.volumes(func(m map[string]current.Anonymous) { delete(m, name) })
}

// volumes adds anonymous volumes or removes some. What is known of one does not change.
func (b *book) volumes(change func(map[string]current.Anonymous)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.cell.load().Anonymous
	next := make(map[string]current.Anonymous)
	for name, v := range was {
		next[name] = v
	}
	change(next)
	if len(next) == len(was) {
		return nil
	}
	if err := b.docs.Save(volumesDocument, bookVersion, next); err != nil {
		return fmt.Errorf("store anonymous volumes: %w", err)
	}
	b.cell.fold(func(s *current.State) *current.State { return s.WithAnonymous(next) })
	return nil
}

// of is what is kept of an app.
func (b *book) of(appUUID string) history {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done[appUUID]
}

// before is the last fully applied release of an app as the target described it, nil when there is
// none.
func (h history) before(appUUID string) *target.App {
	if h.App == nil {
		return nil
	}
	s, _, err := target.DecodeV3Entry(h.App)
	if err != nil {
		return nil
	}
	return s.Apps[appUUID]
}

// encodeApp is the durable form of one app.
func encodeApp(app *target.App) (json.RawMessage, error) {
	if app == nil {
		return nil, nil
	}
	return target.Encode(&target.State{Apps: map[string]*target.App{app.UUID: app}})
}

func digestOf(app *target.App) (string, error) {
	raw, err := encodeApp(app)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), err
}
