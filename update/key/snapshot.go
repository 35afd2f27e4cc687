package key

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// Lengths of an adopted key. Generated keys have 32 characters.
const (
	shortest = 16
	longest  = 64
)

// snapshot is one immutable state of the ring, prepared for lookups.
type snapshot struct {
	keys    keys
	entries []entry
}

// entry is one key for lookups. All digests have the same length, so the time of a comparison does not reveal the
// length of a key.
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

// lookup compares key with every key of the ring in constant time, even after a match.
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

// generate returns a new key: 16 random bytes as 32 lower-case hex digits (docs/spec/device-api.md 1.8).
func generate() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: the runtime ends the process when there is no randomness
	return hex.EncodeToString(b)
}

// isWord reports whether a key has only characters that are safe in a request, and a valid length.
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
