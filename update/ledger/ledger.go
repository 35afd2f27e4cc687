// Package ledger holds what the engine cannot tell and what must outlive a restart of the agent: which images are the
// agent's, which release of an app was applied last and which one failed, which containers the agent stopped, and
// what belongs to one boot of the device. What it says is on the disk before it shows in the current state.
package ledger

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
	"resin-supervisor/update/observe"
	"resin-supervisor/update/target"
)

// Documents is durable storage for small documents, as package store provides it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Ledger is safe for concurrent use.
type Ledger struct {
	Reboot Reboot // the request for a reboot

	docs  Documents
	store *observe.Store
	mu    sync.Mutex // orders the changes; held while saving, so that the next change starts from what is durable
	done  map[string]History
}

// History is what is kept of one app.
type History struct {
	Commit string          `json:"commit,omitempty"` // release that was fully applied last
	App    json.RawMessage `json:"app,omitempty"`    // what the target said of the app then
	Failed *Failure        `json:"failed,omitempty"`
}

// Failure is a release that did not pass its health gate. It is not tried again until the target says something else
// of the app.
type Failure struct {
	Digest string `json:"digest"` // of what the target says of the app
	Commit string `json:"commit"`
	Reason string `json:"reason"`
}

// The documents of the ledger.
const (
	imagesDocument   = "images"
	releasesDocument = "releases"
	alteredDocument  = "altered"
	bootDocument     = "boot"
	stopsDocument    = "stops"
	volumesDocument  = "anonymous"
	documentVersion  = 1
)

// Open reads the ledger. onChange is called after each change of the current state and must not wait; it may be nil.
func Open(docs Documents, reboot Reboot, onChange func()) (*Ledger, error) {
	var records []current.Record
	if _, err := docs.Load(imagesDocument, documentVersion, &records); err != nil {
		return nil, fmt.Errorf("open image records: %w", err)
	}
	l := &Ledger{Reboot: reboot, docs: docs, done: make(map[string]History)}
	if _, err := docs.Load(releasesDocument, documentVersion, &l.done); err != nil {
		return nil, fmt.Errorf("open releases: %w", err)
	}
	var stops map[string]current.Stop
	if _, err := docs.Load(stopsDocument, documentVersion, &stops); err != nil {
		return nil, fmt.Errorf("open stops: %w", err)
	}
	for id, s := range stops {
		if s.User && s.Boot != reboot.ID { // it lasts until the device boots again
			delete(stops, id)
		}
	}
	var anonymous map[string]current.Anonymous
	if _, err := docs.Load(volumesDocument, documentVersion, &anonymous); err != nil {
		return nil, fmt.Errorf("open anonymous volumes: %w", err)
	}
	byKey := make(map[string]current.Record, len(records))
	for _, r := range records {
		byKey[r.Key()] = r
	}
	initial := current.Empty().WithRecords(byKey).WithCommits(commits(l.done)).WithStops(stops).WithAnonymous(anonymous)
	if _, err := docs.Load(alteredDocument, documentVersion, &initial.Altered); err != nil {
		return nil, fmt.Errorf("open differences of the engine: %w", err)
	}
	l.store = observe.NewStore(initial, onChange)
	return l, nil
}

func commits(done map[string]History) map[string]string {
	m := make(map[string]string, len(done))
	for uuid, h := range done {
		if h.Commit != "" {
			m[uuid] = h.Commit
		}
	}
	return m
}

// Store is where the current state is, with what the ledger knows of it.
func (l *Ledger) Store() *observe.Store { return l.store }

// AddImages records images of services. An image whose tag has passed to another one stays recorded as ours, so
// that it goes once nothing uses it.
func (l *Ledger) AddImages(records []current.Record) error {
	return l.records(func(m map[string]current.Record) {
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

// DropImages forgets records.
func (l *Ledger) DropImages(records []current.Record) error {
	return l.records(func(m map[string]current.Record) {
		for _, r := range records {
			delete(m, r.Key())
		}
	})
}

func (l *Ledger) records(change func(map[string]current.Record)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.store.Load().Records)
	change(next)
	list := make([]current.Record, 0, len(next))
	for _, key := range slices.Sorted(maps.Keys(next)) {
		list = append(list, next[key])
	}
	if err := l.docs.Save(imagesDocument, documentVersion, list); err != nil {
		return fmt.Errorf("store image records: %w", err)
	}
	l.store.Update(func(s *current.State) *current.State { return s.WithRecords(next) })
	return nil
}

// SetCommit records the release that an app reached and what the target said of the app. Without a release the app is
// forgotten.
func (l *Ledger) SetCommit(appUUID, release string, app *target.App) error {
	return l.releases(func(m map[string]History) error {
		if release == "" {
			delete(m, appUUID)
			return nil
		}
		raw, err := encodeApp(app)
		h := History{Commit: release, App: raw}
		if m[appUUID].Commit == release {
			h.Failed = m[appUUID].Failed
		}
		m[appUUID] = h
		return err
	})
}

// FailRelease records that a release did not pass its health gate.
func (l *Ledger) FailRelease(appUUID string, app *target.App, reason string) error {
	return l.releases(func(m map[string]History) error {
		digest, err := Digest(app)
		h := m[appUUID]
		if h.Before(appUUID) == nil {
			return errors.New("roll back app " + app.Name + ": what the target said of the release before is lost")
		}
		h.Failed = &Failure{Digest: digest, Commit: app.Release.Commit, Reason: reason}
		m[appUUID] = h
		return err
	})
}

// SetAltered records what the engine made otherwise of an object (docs/spec/engine.md 4.2). It shows also when it
// cannot be stored. The agent makes the object once more after its next start then.
func (l *Ledger) SetAltered(id string, a compose.Altered) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store.Update(func(s *current.State) *current.State { return s.WithAltered(id, a) })
	if err := l.docs.Save(alteredDocument, documentVersion, l.store.Load().Altered); err != nil {
		return fmt.Errorf("store differences of the engine: %w", err)
	}
	return nil
}

func (l *Ledger) releases(change func(map[string]History) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.done)
	if err := change(next); err != nil {
		return err
	}
	if err := l.docs.Save(releasesDocument, documentVersion, next); err != nil {
		return fmt.Errorf("store releases: %w", err)
	}
	l.done = next
	l.store.Update(func(s *current.State) *current.State { return s.WithCommits(commits(next)) })
	return nil
}

// Stopping records that a container is about to be stopped, for an update or because a user wants it. replaced says
// that it is removed next.
func (l *Ledger) Stopping(c *current.Container, user, replaced bool) error {
	return l.stop(c.ID, current.Stop{Run: c.StartedAt, User: user, Replaced: replaced, Boot: l.Reboot.ID})
}

// Starting forgets the stop of a container that a user wants to run.
func (l *Ledger) Starting(id string) error { return l.stop(id, current.Stop{}) }

// stop replaces the stop of a container. The zero stop removes it. Those of containers that are gone or were
// started again go with it.
func (l *Ledger) stop(id string, stop current.Stop) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cur := l.store.Load()
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
	if err := l.docs.Save(stopsDocument, documentVersion, next); err != nil {
		return fmt.Errorf("store stops: %w", err)
	}
	l.store.Update(func(s *current.State) *current.State { return s.WithStops(next) })
	return nil
}

// KeepVolumes records that the anonymous volumes of a container outlive it.
func (l *Ledger) KeepVolumes(c *current.Container) error {
	return l.volumes(func(m map[string]current.Anonymous) {
		for name, path := range c.Anonymous {
			m[name] = current.Anonymous{AppID: c.AppID, Service: c.ServiceName, Path: path, Image: c.ImageEngine}
		}
	})
}

// DropVolume forgets an anonymous volume.
func (l *Ledger) DropVolume(name string) error {
	return l.volumes(func(m map[string]current.Anonymous) { delete(m, name) })
}

// volumes adds anonymous volumes or removes some. The entry of a volume never changes.
func (l *Ledger) volumes(change func(map[string]current.Anonymous)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.store.Load().Anonymous
	next := make(map[string]current.Anonymous)
	for name, v := range was {
		next[name] = v
	}
	change(next)
	if len(next) == len(was) {
		return nil
	}
	if err := l.docs.Save(volumesDocument, documentVersion, next); err != nil {
		return fmt.Errorf("store anonymous volumes: %w", err)
	}
	l.store.Update(func(s *current.State) *current.State { return s.WithAnonymous(next) })
	return nil
}

// History is what is kept of an app.
func (l *Ledger) History(appUUID string) History {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[appUUID]
}

// Before is the release of an app that was fully applied last, as the target described it. It is nil when there is
// none.
func (h History) Before(appUUID string) *target.App {
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

// Digest tells what a target says of an app from anything else that one may say.
func Digest(app *target.App) (string, error) {
	raw, err := encodeApp(app)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), err
}
