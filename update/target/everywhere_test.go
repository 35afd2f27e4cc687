package target

import (
	"maps"
	"slices"
	"testing"
)

// odd holds values that a broken or hostile document may have anywhere.
func odd() []any {
	return []any{nil, true, 0.0, -1.5, 1e300, "", "x", "7", "a\nb", []any{}, []any{nil}, Map{}, Map{"": nil}, Map{"x": Map{}}, Map{"7": "y"}}
}

// everywhere calls try with one document for each odd value in each place.
func everywhere(value any, set func(any), try func()) {
	for _, v := range odd() {
		set(v)
		try()
	}
	set(value)
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			everywhere(v[key], func(x any) { v[key] = x }, try)
		}
	case []any:
		for i := range v {
			everywhere(v[i], func(x any) { v[i] = x }, try)
		}
	}
}

// No document panics, and each accepted one can be stored and read back.
func TestOddValuesEverywhere(t *testing.T) {
	f := func(text string, decode func([]byte) *State) {
		t.Helper()
		root := tree(t, text)
		taken := 0
		everywhere(root, func(v any) { root = v }, func() {
			if s := decode(encode(t, root)); s != nil {
				taken++
				CheckContracts(s, facts)
				wantStored(t, s)
			}
		})
		if taken == 0 {
			t.Error("every document was refused")
		}
	}
	f(entryV3, func(body []byte) *State {
		s, _, _ := DecodeV3Entry(body)
		return s
	})
	f(posted, func(body []byte) *State {
		if l, err := DecodeLocal(body); err == nil {
			return l.State
		}
		return nil
	})
	for _, text := range []string{entryV3, legacyFile, string(encode(t, tree(t, posted).(map[string]any)["local"]))} {
		f(text, func(body []byte) *State {
			if p, _, err := DecodePreload(body, nil); err == nil && p != nil {
				return p.State
			}
			return nil
		})
	}
}
