package key

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// The length of a key that is taken over. Our own have 32.
const (
	shortest = 16
	longest  = 64
)

// snapshot is one immutable state of the ring with what a lookup needs.
type snapshot struct {
	keys    keys
	entries []entry
}

// entry is one key for lookups. Digests have one length, so comparing them tells nothing about the
// length of a key either.
type entry struct {
	digest [sha256.Size]byte
	scope  Scope
}

func newSnapshot(k keys) *snapshot {
	s := &snapshot{keys: k}
	if k.Global != "" {
		s.add(k.Global, Scope{Global: true})
	}
	for _, held := range k.Services {
		s.add(held.Key, Scope{AppID: held.AppID, Service: held.Service})
	}
	return s
}

func (s *snapshot) add(key string, scope Scope) {
	s.entries = append(s.entries, entry{digest: sha256.Sum256([]byte(key)), scope: scope})
}

// lookup compares with every key, also after it found one, each in constant time.
func (s *snapshot) lookup(key string) (Scope, bool) {
	digest := sha256.Sum256([]byte(key))
	found := -1
	for i := range s.entries {
		equal := subtle.ConstantTimeCompare(digest[:], s.entries[i].digest[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return Scope{}, false
	}
	return s.entries[found].scope, true
}

// generate makes a key: 16 random bytes as 32 lower-case hex digits (docs/spec/device-api.md 1.8).
func generate() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: the runtime ends the process when there is no randomness
	return hex.EncodeToString(b)
}

// isWord reports whether a key has a form that requests can carry.
func isWord(key string) bool {
	if len(key) < shortest || len(key) > longest {
		return false
	}
	for _, c := range []byte(key) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}
