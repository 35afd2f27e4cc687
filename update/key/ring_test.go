package key

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
)

// shelf keeps documents in memory, as bytes like the real store, and can fail.
type shelf struct {
	mu     sync.Mutex
	docs   map[string][]byte
	saves  int
	broken error
}

func newShelf() *shelf { return &shelf{docs: map[string][]byte{}} }

func (s *shelf) Load(name string, _ int, v any) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return false, s.broken
	}
	raw, ok := s.docs[name]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}

func (s *shelf) Save(name string, _ int, v any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	raw, err := json.Marshal(v)
	s.docs[name] = raw
	s.saves++
	return err
}

func open(t *testing.T, s *shelf) *Ring {
	t.Helper()
	r, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func service(t *testing.T, r *Ring, appID int, name string) string {
	t.Helper()
	key, err := r.Service(appID, name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func wantScope(t *testing.T, r *Ring, key string, want Scope) {
	t.Helper()
	if got, ok := r.Lookup(key); !ok || got != want {
		t.Fatalf("scope %v (%v), want %v", got, ok, want)
	}
}

func wantRefused(t *testing.T, r *Ring, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if scope, ok := r.Lookup(key); ok || scope != (Scope{}) {
			t.Fatalf("key %q has scope %v", key, scope)
		}
	}
}

func isHex(key string) bool {
	return len(key) == 32 && strings.Trim(key, "0123456789abcdef") == ""
}

func TestKeysAreMadeOnceAndPersist(t *testing.T) {
	s := newShelf()
	r := open(t, s)
	global, web := r.Global(), service(t, r, 7, "web")
	other, db := service(t, r, 8, "web"), service(t, r, 7, "db")
	distinct := map[string]bool{}
	for _, key := range []string{global, web, other, db} {
		if distinct[key] = true; !isHex(key) {
			t.Fatalf("key %q, want 32 hex digits", key)
		}
	}
	if len(distinct) != 4 {
		t.Fatalf("%d distinct keys, want 4", len(distinct))
	}
	saves := s.saves
	for _, r := range []*Ring{r, open(t, s)} {
		if r.Global() != global || service(t, r, 7, "web") != web || service(t, r, 8, "web") != other {
			t.Fatal("a key changed")
		}
		wantScope(t, r, global, Scope{Global: true})
		wantScope(t, r, web, Scope{AppID: 7, Service: "web"})
		wantScope(t, r, other, Scope{AppID: 8, Service: "web"})
		wantRefused(t, r, "", "x", strings.ToUpper(global), global[:31], global+"0", " "+web)
	}
	if s.saves != saves {
		t.Fatal("an unchanged ring was saved")
	}
}

func TestNothingUnlessDurable(t *testing.T) {
	s := newShelf()
	r := open(t, s)
	global := r.Global()
	full := errors.New("disk full")
	s.broken = full
	if key, err := r.Service(7, "web"); key != "" || err == nil {
		t.Fatalf("service key %q (%v) from a full disk", key, err)
	}
	if adopted, err := r.Adopt(7, "web", "0123456789abcdef"); adopted || err == nil {
		t.Fatalf("adopted %v (%v) on a full disk", adopted, err)
	}
	if key, _, err := r.Regenerate(global); key != "" || err == nil {
		t.Fatalf("new key %q (%v) from a full disk", key, err)
	}
	wantScope(t, r, global, Scope{Global: true})
	wantRefused(t, r, "0123456789abcdef")
	if _, err := Open(s); err == nil {
		t.Fatal("opened without a readable document")
	}
	s.broken = nil
	key := service(t, r, 7, "web")
	wantScope(t, open(t, s), key, Scope{AppID: 7, Service: "web"})
}

func TestAdopt(t *testing.T) {
	r := open(t, newShelf())
	web := service(t, r, 7, "web")
	f := func(name, key string, want bool) {
		t.Helper()
		adopted, err := r.Adopt(9, name, key)
		if err != nil || adopted != want {
			t.Fatalf("adopt %s %q: %v (%v), want %v", name, key, adopted, err, want)
		}
		if want {
			wantScope(t, r, key, Scope{AppID: 9, Service: name})
		}
	}
	f("a", "", false)
	f("a", strings.Repeat("k", 15), false)
	f("a", strings.Repeat("k", 65), false)
	f("a", "0123456789abcde-", false)
	f("a", "0123456789abcdeé", false)
	f("a", "0123456789 abcdef", false)
	f("a", web, false)
	f("a", r.Global(), false)
	f("a", strings.Repeat("k", 16), true)
	f("a", strings.Repeat("m", 16), false)
	f("b", strings.Repeat("k", 16), false)
	f("b", "Z_9"+strings.Repeat("k", 61), true)
	if got := service(t, r, 9, "a"); got != strings.Repeat("k", 16) {
		t.Fatalf("the adopted key was replaced by %q", got)
	}
}

func TestRegenerate(t *testing.T) {
	s := newShelf()
	r := open(t, s)
	global, web, db := r.Global(), service(t, r, 7, "web"), service(t, r, 7, "db")
	newGlobal, scope, err := r.Regenerate(global)
	if err != nil || scope != (Scope{Global: true}) || !isHex(newGlobal) || r.Global() != newGlobal {
		t.Fatalf("global: %q %v %v", newGlobal, scope, err)
	}
	newWeb, scope, err := r.Regenerate(web)
	if err != nil || scope != (Scope{AppID: 7, Service: "web"}) || service(t, r, 7, "web") != newWeb {
		t.Fatalf("service: %q %v %v", newWeb, scope, err)
	}
	for _, r := range []*Ring{r, open(t, s)} {
		wantRefused(t, r, global, web)
		wantScope(t, r, newGlobal, Scope{Global: true})
		wantScope(t, r, newWeb, Scope{AppID: 7, Service: "web"})
		wantScope(t, r, db, Scope{AppID: 7, Service: "db"})
	}
	for _, key := range []string{global, "", "nonsense"} {
		if got, _, err := r.Regenerate(key); !errors.Is(err, ErrUnknown) || got != "" {
			t.Fatalf("regenerate %q: %q %v, want ErrUnknown", key, got, err)
		}
	}
}

func TestDamagedDocument(t *testing.T) {
	s := newShelf()
	s.docs[document] = []byte(`{"global":"","services":[
		{"appId":7,"service":"web","key":""},
		{"appId":7,"service":"db","key":"dddddddddddddddd"},
		{"appId":7,"service":"db","key":"eeeeeeeeeeeeeeee"},
		{"appId":8,"service":"db","key":"dddddddddddddddd"}]}`)
	r := open(t, s)
	if !isHex(r.Global()) {
		t.Fatalf("global key %q", r.Global())
	}
	wantRefused(t, r, "", "eeeeeeeeeeeeeeee")
	wantScope(t, r, "dddddddddddddddd", Scope{AppID: 7, Service: "db"})
	if key := service(t, r, 7, "web"); !isHex(key) {
		t.Fatalf("service key %q", key)
	}
}

// Concurrent callers get the same first key. Of concurrent calls of Regenerate for one key exactly one succeeds.
func TestConcurrentUse(t *testing.T) {
	s := newShelf()
	r := open(t, s)
	var wg sync.WaitGroup
	made := make([]string, 16)
	for i := range made {
		wg.Go(func() {
			made[i], _ = r.Service(7, "web")
			r.Lookup(r.Global())
		})
	}
	wg.Wait()
	for _, key := range made {
		if key == "" || key != made[0] {
			t.Fatalf("keys %q and %q for one service", made[0], key)
		}
	}
	won := make(chan string, len(made))
	for range made {
		wg.Go(func() {
			if key, _, err := r.Regenerate(made[0]); err == nil {
				won <- key
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || service(t, open(t, s), 7, "web") != <-won {
		t.Fatal("a key was regenerated more than once, or the stored one is another")
	}
}
