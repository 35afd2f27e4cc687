// Package key manages the device API keys: one global key for the cloud, and one key for each service that uses the
// API (docs/spec/device-api.md 1.7 and 1.8). A key is stored durably before it is handed out.
package key

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// The document of the store that holds the ring.
const (
	document = "keys"
	version  = 1
)

// ErrUnknown means that a key is not on the ring.
var ErrUnknown = errors.New("unknown API key")

// Documents stores small documents durably. Package store implements it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Scope is what a key gives access to: everything, or one app. A key that is not global belongs to one service of
// that app.
type Scope struct {
	Global  bool
	AppID   int
	Service string
}

// Ring holds all keys. It is safe for concurrent use. Readers take no lock and never wait for the disk.
type Ring struct {
	docs Documents
	now  atomic.Pointer[snapshot]
	// changing serializes changes. It is held until the changed ring is saved, so that each change starts from
	// durable state. Readers use the snapshot.
	changing sync.Mutex
}

// Open loads the stored keys, and makes the global key if there is none.
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

// Global returns the global key, which is reported to the cloud as api_secret.
func (r *Ring) Global() string { return r.now.Load().keys.Global }

// Service returns the key of a service. The first call makes and stores it. After an error the service has no key,
// and the next call tries again.
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

// Adopt stores the key that a service's running container got from an earlier supervisor, so that the container need
// not be recreated (docs/spec/cloud.md 7.6). It returns false and changes nothing if the service already has a key,
// if the key is not 16 to 64 letters, digits and underscores, or if another service has the same key.
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

// Lookup returns the scope of a key. Its duration depends only on the number of keys.
func (r *Ring) Lookup(key string) (Scope, bool) { return r.now.Load().lookup(key) }

// Regenerate replaces a key by a new one with the same scope (docs/spec/device-api.md 2.10). When it returns, the old
// key is no longer valid. The error is ErrUnknown if the key is not on the ring.
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

// commit stores a changed ring durably and then makes it visible. The caller holds changing, or is Open.
func (r *Ring) commit(next keys) error {
	if err := r.docs.Save(document, version, next); err != nil {
		return fmt.Errorf("store API keys: %w", err)
	}
	r.now.Store(newSnapshot(next))
	return nil
}
