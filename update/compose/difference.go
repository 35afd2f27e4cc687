package compose

import (
	"encoding/json"
	"slices"
	"strings"

	"resin-supervisor/update/engine/doc"
)

const (
	noValue = "none"
	changed = "changed"
	// maxShown bounds a value in a Difference, in characters.
	maxShown = 60
)

// differ describes two unequal values. Of lists it shows the items that the other lacks. It cuts long texts.
func differ(name string, have, want any) Difference {
	d := Difference{Field: name, Want: changed, hash: hash(name, encode(have), encode(want))}
	switch name {
	case "command", "entrypoint", "healthcheck": // free text may hold a secret
	default:
		d.Have, d.Want = shorten(describe(have, want), describe(want, have))
	}
	return d
}

// hash is the FNV-1a hash of texts.
func hash(texts ...string) uint64 {
	n := uint64(14695981039346656037)
	for _, text := range texts {
		for i := 0; i < len(text); i++ {
			n = (n ^ uint64(text[i])) * 1099511628211
		}
		n *= 1099511628211
	}
	return n
}

// describe is v as text. Of a list it shows only the items that other lacks, if there are any.
func describe(v, other any) string {
	switch v := v.(type) {
	case map[string][]doc.PortBinding:
		return firstOf(showPorts(v), noValue)
	case []string:
		o, _ := other.([]string)
		if own := without(v, o); len(own) > 0 || len(without(o, v)) > 0 {
			return encode(own)
		}
	}
	return encode(v)
}

func encode(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	if text := strings.TrimSpace(b.String()); text != "null" && text != "[]" {
		return text
	}
	return noValue
}

// shorten cuts two texts and keeps the first difference visible.
func shorten(a, b string) (string, string) {
	const context = 10
	ra, rb := []rune(a), []rune(b)
	same := 0
	for same < len(ra) && same < len(rb) && ra[same] == rb[same] {
		same++
	}
	if same > context && max(len(ra), len(rb)) > maxShown {
		return cut("…" + string(ra[same-context:])), cut("…" + string(rb[same-context:]))
	}
	return cut(a), cut(b)
}

func cut(text string) string {
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown-1]) + "…"
	}
	return text
}

// without lists the items that are not in other.
func without(list, other []string) []string {
	var out []string
	for _, item := range list {
		if !slices.Contains(other, item) {
			out = append(out, item)
		}
	}
	return out
}

// compareMaps compares key by key. It names the keys and never shows a value, which may be a secret.
func compareMaps(prefix string, have, want map[string]string) []Difference {
	both := map[string]string{}
	overlay(both, have)
	overlay(both, want)
	var out []Difference
	for _, key := range sortedKeys(both) {
		h, has := have[key]
		w, wants := want[key]
		if h == w && has == wants {
			continue
		}
		d := Difference{Field: prefix + key, Want: changed}
		from, to := encode(h), encode(w)
		if !has {
			d.Want, from = "added", noValue
		}
		if !wants {
			d.Want, to = "removed", noValue
		}
		d.hash = hash(d.Field, from, to)
		out = append(out, d)
	}
	return out
}
