// Package key is the ring of device API keys: one global key for the cloud and one key for each
// service that asked for the API (docs/spec/device-api.md 1.7 and 1.8). A key is durable before anybody
// gets to see it.
package key

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// The ring is one document of the store.
const (
	document = "keys"
	version  = 1
)

// ErrUnknown says that a key is not, or no longer, on the ring.
var ErrUnknown = errors.New("unknown API key")

// Documents is durable storage for small documents, as package store provides it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Scope is what a key opens: everything, or one app. A key that is not global belongs to one
// service of that app.
type Scope struct {
	Global  bool
	AppID   int
	Service string
}

// Ring holds all keys. It is safe for concurrent use: readers take no lock and never wait for the
// medium.
type Ring struct {
	docs Documents
	now  atomic.Pointer[snapshot]
	// changing orders the changes. It is held while the changed ring is saved, which is the point:
	// the next change starts from what is durable. Reads go by the snapshot.
	changing sync.Mutex
}

// Open reads the stored keys and makes the global key when there is none yet.
func Open(docs Documents) (*Ring, error) {
	var stored keys
	if _, err := docs.Load(document, version, &stored); err != nil {
		return nil, fmt.Errorf("open API keys: %w", err)
	}
	r := &Ring{docs: docs}
	clean := usable(stored)
	r.now.Store(newSnapshot(clean))
	if clean.Global != "" {
		return r, nil
	}
	clean.Global = generate()
	if err := r.commit(clean); err != nil {
		return nil, err
	}
	return r, nil
}

// Global is the key of the cloud, reported to it as api_secret.
func (r *Ring) Global() string { return r.now.Load().keys.Global }

// Service is the key of a service, made and stored at its first use. After an error there is no
// key yet; the next call tries again.
func (r *Ring) Service(appID int, service string) (string, error) {
	if key, ok := r.now.Load().keys.of(appID, service); ok {
		return key, nil
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	old := r.now.Load().keys
	if key, ok := old.of(appID, service); ok {
		return key, nil
	}
	key := generate()
	if err := r.commit(old.with(appID, service, key)); err != nil {
		return "", err
	}
	return key, nil
}

// Adopt stores the key that a service's running container has from an earlier supervisor, so that
// it need not be made anew (docs/spec/cloud.md 7.6). It reports false and changes nothing when the
// service has a key already, when the key is not a word of 16 to 64 letters, digits and
// underscores, or when somebody else holds it.
func (r *Ring) Adopt(appID int, service, key string) (adopted bool, err error) {
	if !isWord(key) {
		return false, nil
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	now := r.now.Load()
	if _, taken := now.keys.of(appID, service); taken {
		return false, nil
	}
	if _, taken := now.lookup(key); taken {
		return false, nil
	}
	if err := r.commit(now.keys.with(appID, service, key)); err != nil {
		return false, err
	}
	return true, nil
}

// Lookup finds out what a key opens. Its time depends on the number of keys only.
func (r *Ring) Lookup(key string) (Scope, bool) { return r.now.Load().lookup(key) }

// Regenerate replaces a key by a new one for the same holder (docs/spec/device-api.md 2.10). From its
// return on the old one is refused. A key that is not on the ring gives ErrUnknown.
func (r *Ring) Regenerate(key string) (newKey string, scope Scope, err error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	now := r.now.Load()
	scope, ok := now.lookup(key)
	if !ok {
		return "", Scope{}, ErrUnknown
	}
	next := now.keys
	newKey = generate()
	if scope.Global {
		next.Global = newKey
	} else {
		next = next.with(scope.AppID, scope.Service, newKey)
	}
	if err := r.commit(next); err != nil {
		return "", scope, err
	}
	return newKey, scope, nil
}

// commit makes a changed ring durable and then visible. The caller holds changing, or is Open.
func (r *Ring) commit(next keys) error {
	if err := r.docs.Save(document, version, next); err != nil {
		return fmt.Errorf("store API keys: %w", err)
	}
	r.now.Store(newSnapshot(next))
	return nil
}
