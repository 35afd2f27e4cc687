package compose

import (
	"errors"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// notes collects the warnings and the first error of one service, network or volume of a composition.
type notes struct {
	subject string   // "service web"
	ignored []string // unknown keys with their paths
	lines   []string
	err     error // the first one; it rejects the app
}

// maxWarnings limits the warnings about one service, network or volume.
const maxWarnings = 32

func (n *notes) warn(text string) {
	if line := n.subject + ": " + text; len(n.lines) < maxWarnings && !slices.Contains(n.lines, line) {
		n.lines = append(n.lines, line)
	}
}

func (n *notes) fail(text string) {
	if n.err == nil {
		n.err = errors.New(n.subject + ": " + text)
	}
}

// warnings lists the warnings, with one line for all ignored keys.
func (n *notes) warnings() []string {
	if len(n.ignored) == 0 {
		return n.lines
	}
	return append(n.lines, n.subject+": ignored compose keys: "+strings.Join(sortedSet(n.ignored), ", "))
}

// section reads one compose mapping. Its keys may be in snake, kebab or camel case. null is the same as absent. finish
// reports the keys that nothing took as ignored.
type section struct {
	*notes
	path   string // prefix for names in messages, "healthcheck."
	values map[string]any
	names  map[string]string // keys as they were written
}

func newSection(path string, m map[string]any, n *notes) *section {
	s := &section{notes: n, path: path, values: make(map[string]any, len(m)), names: make(map[string]string, len(m))}
	for _, key := range sortedKeys(m) {
		if m[key] == nil || strings.HasPrefix(key, "x-") {
			continue
		}
		folded := normaliseKey(key)
		if _, twice := s.values[folded]; twice {
			n.ignored = append(n.ignored, path+key)
			continue
		}
		s.values[folded], s.names[folded] = m[key], key
	}
	return s
}

// normaliseKey gives cap_add, cap-add and capAdd the same key.
func normaliseKey(key string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return r
	}, key))
}

// take returns the value of a key, given in snake case, and marks it as read; nil when absent.
func (s *section) take(key string) any {
	folded := normaliseKey(key)
	v := s.values[folded]
	delete(s.values, folded)
	return v
}

// finish reports the keys that were not taken.
func (s *section) finish() {
	for folded := range s.values {
		s.ignored = append(s.ignored, s.path+s.names[folded])
	}
}

// warnType warns of a value of the wrong type.
func (s *section) warnType(key, what string) {
	s.warn(s.path + key + " is not " + what + " and is ignored")
}

func (s *section) text(key, fallback string) string {
	v := s.take(key)
	if v == nil {
		return fallback
	}
	text, ok := scalar(v)
	if !ok {
		s.warnType(key, "a text")
		return fallback
	}
	return text
}

// mode reads a text such as service:web, and ignores white space around its parts.
func (s *section) mode(key string) string {
	kind, name, named := strings.Cut(s.text(key, ""), ":")
	if kind = strings.TrimSpace(kind); named {
		kind += ":" + strings.TrimSpace(name)
	}
	return kind
}

func (s *section) flag(key string, fallback bool) bool {
	v := s.take(key)
	if v == nil {
		return fallback
	}
	flag, ok := parseFlag(v)
	if !ok {
		s.warnType(key, "true or false")
		return fallback
	}
	return flag
}

// whole reads an integer, 0 when absent or not an integer.
func (s *section) whole(key string) int64 {
	v := s.take(key)
	if v == nil {
		return 0
	}
	text, _ := scalar(v)
	n, ok := parseWhole(text)
	if !ok {
		s.warnType(key, "a whole number")
	}
	return n
}

// small is whole for fields that the engine holds in 32 bits.
func (s *section) small(key string) int {
	n := s.whole(key)
	if n > math.MaxInt32 || n < math.MinInt32 {
		s.warnType(key, "a number of at most 32 bits")
		return 0
	}
	return int(n)
}

// bytes reads a size. A bad one counts as absent (docs/spec/engine.md 2.4).
func (s *section) bytes(key string, fallback int64) int64 {
	v := s.take(key)
	if v == nil {
		return fallback
	}
	text, _ := scalar(v)
	n, ok := parseSize(text)
	if !ok {
		s.warnType(key, "a size")
		return fallback
	}
	return n
}

// nano reads a decimal number in units of 1e-9.
func (s *section) nano(key string) int64 {
	v := s.take(key)
	if v == nil {
		return 0
	}
	text, _ := scalar(v)
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(f >= 0 && f < 1e9) {
		s.warnType(key, "a number of processors")
		return 0
	}
	return int64(math.Round(f * 1e9))
}

// duration reads a duration. A bad one rejects the app (docs/spec/engine.md D13).
func (s *section) duration(key string) (value time.Duration, given bool) {
	v := s.take(key)
	if v == nil {
		return 0, false
	}
	text, _ := scalar(v)
	d, ok := parseDuration(text)
	if !ok {
		s.fail(s.path + key + ": " + strconv.Quote(text) + " is not a duration such as 90s or 1m30s")
	}
	return d, ok
}

// list reads a list of scalars. A single scalar is a list of one.
func (s *section) list(key string) []string {
	v := s.take(key)
	if v == nil {
		return nil
	}
	if text, ok := scalar(v); ok {
		return []string{text}
	}
	items, ok := v.([]any)
	if !ok {
		s.warnType(key, "a list")
	}
	return s.scalars(key, items)
}

func (s *section) scalars(key string, items []any) []string {
	out := make([]string, 0, len(items))
	for _, item := range items {
		if text, ok := scalar(item); ok {
			out = append(out, text)
		} else if item != nil {
			s.warn("an entry of " + s.path + key + " is not a text and is ignored")
		}
	}
	return out
}

// command reads a list of arguments or a command line. given is false when the key is absent.
func (s *section) command(key string) (words []string, given bool) {
	v := s.take(key)
	switch v := v.(type) {
	case nil:
		return nil, false
	case []any:
		return s.scalars(key, v), true
	}
	line, ok := scalar(v)
	if !ok {
		s.warnType(key, "a command")
		return nil, false
	}
	return splitWords(line), true
}

// pairs reads a mapping of text to text, or a list of key=value. A key has no value when it is null in a mapping, or has
// no = in a list. Such a key is dropped, or gets an empty value if bare is set.
func (s *section) pairs(key string, bare bool) map[string]string {
	v := s.take(key)
	out := map[string]string{}
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for _, name := range sortedKeys(v) {
			if text, ok := scalar(v[name]); ok || bare && v[name] == nil {
				out[name] = text
			} else if v[name] != nil {
				s.warn(s.path + key + " " + name + " is not a text and is ignored")
			}
		}
	case []any:
		for _, item := range s.scalars(key, v) {
			if name, text, found := strings.Cut(item, "="); found || bare {
				out[name] = text
			}
		}
	default:
		s.warnType(key, "a mapping")
	}
	return out
}

// mapping returns the section of a nested mapping, an empty one when absent.
func (s *section) mapping(key string) *section {
	v := s.take(key)
	m, ok := v.(map[string]any)
	if v != nil && !ok {
		s.warnType(key, "a mapping")
	}
	return newSection(s.path+key+".", m, s.notes)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
