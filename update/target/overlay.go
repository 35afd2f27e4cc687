package target

import (
	"maps"
	"strconv"
	"strings"
)

// overlay merges the environment or labels of a composition (a map, or a list of KEY=value) with those of the service,
// which win (docs/spec/engine.md 2.2). It drops invalid names. It drops keys without a value too, or gives them an empty
// value if bare is set.
func overlay(composed any, form keyForm, bare bool, own map[string]string) map[string]string {
	out := map[string]string{}
	set := func(key string, value any) {
		if text, ok := scalar(value); form.fits(key) && (ok || bare && value == nil) {
			out[key] = text
		}
	}
	switch c := composed.(type) {
	case map[string]any:
		for key, value := range c {
			set(key, value)
		}
	case []any:
		for _, element := range c {
			text, _ := scalar(element)
			if key, value, found := strings.Cut(text, "="); found || bare {
				set(key, value)
			}
		}
	}
	maps.Copy(out, own)
	return out
}

// scalar is a single value as text.
func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}
