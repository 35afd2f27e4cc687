package target

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxID is the largest id that is exact in JSON and fits an int of this machine.
const maxID = min(1<<53-1, math.MaxInt)

// maxText is how long a name may be, in UTF-16 units (docs/spec/cloud.md 3.5).
const maxText = 255

// node is one place in a document: what is there, and the path that a problem line names. Its
// methods give the value in the wanted form, or add a line to check and give the zero value.
type node struct {
	check   *check
	path    string
	value   any
	present bool
	secret  bool // nothing of the value is shown
}

// rootOf is the node of a whole tree.
func rootOf(c *check, path string, value any) node {
	return node{check: c, path: path, value: value, present: true}
}

// get is the node of a member; it may be absent.
func (n node) get(key string) node {
	fields, _ := n.value.(map[string]any)
	value, present := fields[key]
	return node{check: n.check, path: join(n.path, n.name(key)), value: value, present: present, secret: n.secret}
}

// name is a key as problem lines show it: of A=secret, which may be meant as a whole, the name alone.
func (n node) name(key string) string {
	if n.secret {
		key, _, _ = strings.Cut(key, "=")
	}
	return key
}

// join extends a path. A key that is none of ours may be of any length.
func join(path, key string) string {
	if len(key) > maxText {
		key = strings.ToValidUTF8(key[:maxText], "") + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// expected adds the line that something else should be here.
func (n node) expected(what string) {
	got := "undefined"
	switch {
	case n.secret:
		got = kind(n.value)
	case n.present:
		got = show(n.value)
	}
	n.check.add(expecting(what, n.path, got))
}

// empty reports whether an optional member is absent; null counts as absent.
func (n node) empty() bool { return n.value == nil }

// isObject adds a line when there is no object.
func (n node) isObject() bool {
	_, ok := n.value.(map[string]any)
	if !ok {
		n.expected("object")
	}
	return ok
}

// text is a required string of at most maxText UTF-16 units.
func (n node) text() string {
	s, ok := n.value.(string)
	if !ok {
		n.expected("string")
		return ""
	}
	if isLonger(s, maxText) {
		n.expected("string of at most 255 characters")
	}
	return s
}

// optionalText is text, or the fallback when absent.
func (n node) optionalText(fallback string) string {
	if n.empty() {
		return fallback
	}
	return n.text()
}

// deviceName is a text without line breaks.
func (n node) deviceName() string {
	s := n.text()
	if strings.ContainsAny(s, "\r\n") {
		n.expected("string without line break")
	}
	return s
}

// boolean is an optional boolean.
func (n node) boolean(fallback bool) bool {
	if n.empty() {
		return fallback
	}
	b, ok := n.value.(bool)
	if !ok {
		n.expected("boolean")
	}
	return b
}

// id is a required non-negative integer, as number or decimal text.
func (n node) id() int {
	switch v := n.value.(type) {
	case float64:
		if v >= 0 && v <= maxID && v == math.Trunc(v) {
			return int(v)
		}
	case string:
		if id, ok := decimal(v); ok {
			return id
		}
	}
	n.expected("non-negative integer")
	return 0
}

// decimal reads digits only: no sign, no point, no other base.
func decimal(s string) (int, bool) {
	if s == "" || !allOf(s, func(c byte) bool { return c >= '0' && c <= '9' }) {
		return 0, false
	}
	id, err := strconv.ParseInt(s, 10, 64)
	return int(id), err == nil && id <= maxID
}

// canonical is decimal for map keys: there is one way to write each.
func canonical(s string) (int, bool) {
	id, ok := decimal(s)
	return id, ok && strconv.Itoa(id) == s
}

// object is an optional free-form object, nil when absent.
func (n node) object() Map {
	if n.empty() || !n.isObject() {
		return nil
	}
	return n.value.(map[string]any)
}

// each walks an optional object in the order of its keys. A key of another form adds a line and is
// passed over.
func (n node) each(form keyForm, visit func(key string, member node)) {
	fields := n.object()
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		member := n.get(key)
		if !form.fits(key) {
			n.check.add(expecting(form.what, "key of "+n.path, show(n.name(key))))
			continue
		}
		visit(key, member)
	}
}

// texts is a required object of strings, any of which may be a secret.
func (n node) texts(form keyForm) map[string]string {
	out := map[string]string{}
	n.secret = n.present
	if n.empty() {
		n.expected("object")
	}
	n.each(form, func(key string, member node) {
		s, ok := member.value.(string)
		if !ok {
			member.expected("string")
		}
		out[key] = s
	})
	return out
}

// environment is the texts of a service's variables. null is what YAML makes of a key without a value: of all
// of them it means none, of one that it is not set.
func (n node) environment() map[string]string {
	fields, _ := n.value.(map[string]any)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	return n.orEmpty().texts(variableKey())
}

// labels is the texts of a service's labels. null means no labels, or an empty label.
func (n node) labels() map[string]string {
	fields, _ := n.value.(map[string]any)
	for key, value := range fields {
		if value == nil {
			fields[key] = ""
		}
	}
	return n.orEmpty().texts(labelKey())
}

// orEmpty takes null for an empty object.
func (n node) orEmpty() node {
	if n.present && n.value == nil {
		n.value = map[string]any{}
	}
	return n
}

// objects is an optional object of objects; null is an empty one.
func (n node) objects(form keyForm) map[string]Map {
	out := map[string]Map{}
	n.each(form, func(key string, member node) {
		if member = member.orEmpty(); member.isObject() {
			out[key] = member.value.(map[string]any)
		}
	})
	return out
}

// Truthy is a loose flag: true, 1, or the text 1, true or on, in any case; nothing else is
// (docs/spec/device-api.md 1.6). It is the rule for the labels of features and updates as well.
func Truthy(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case float64:
		return v == 1
	case string:
		return v == "1" || strings.EqualFold(v, "true") || strings.EqualFold(v, "on")
	}
	return false
}

// isDeeper reports whether a tree has more than limit levels, looking no further than that.
func isDeeper(value any, limit int) bool {
	if limit < 0 {
		return true
	}
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			if isDeeper(member, limit-1) {
				return true
			}
		}
	case []any:
		for _, element := range v {
			if isDeeper(element, limit-1) {
				return true
			}
		}
	}
	return false
}
