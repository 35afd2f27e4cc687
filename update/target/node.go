package target

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxID is the largest id that is exact in JSON and fits into an int.
const maxID = min(1<<53-1, math.MaxInt)

// maxText limits the length of a name, in UTF-16 units (docs/spec/cloud.md 3.5).
const maxText = 255

// node is one place in a document, with its value and its path for problem lines. Its methods return the value in the
// wanted form, or add a line to check and return the zero value.
type node struct {
	check   *check
	path    string
	value   any
	present bool
	secret  bool // problem lines hide the value
}

// rootOf is the node of a whole tree.
func rootOf(c *check, path string, value any) node {
	return node{check: c, path: path, value: value, present: true}
}

// get is the node of a member, which may be absent.
func (n node) get(key string) node {
	fields, _ := n.value.(map[string]any)
	value, present := fields[key]
	return node{check: n.check, path: join(n.path, n.name(key)), value: value, present: present, secret: n.secret}
}

// name is a key for problem lines. Of a key such as A=secret, where the user may have meant a pair, it is only the name.
func (n node) name(key string) string {
	if n.secret {
		key, _, _ = strings.Cut(key, "=")
	}
	return key
}

// join extends a path. It cuts long keys, since an unknown key may have any length.
func join(path, key string) string {
	if len(key) > maxText {
		key = strings.ToValidUTF8(key[:maxText], "") + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// expected adds the line for a value that should be something else.
func (n node) expected(what string) {
	got := "undefined"
	switch {
	case n.secret:
		got = kind(n.value)
	case n.present:
		got = show(n.value)
	}
	n.check.add(expectingLine(what, n.path, got))
}

// empty reports whether an optional member is absent; null counts as absent.
func (n node) empty() bool { return n.value == nil }

// isObject reports whether the value is an object, and adds a line when it is not.
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
	if isLongerThan(s, maxText) {
		n.expected("string of at most 255 characters")
	}
	return s
}

// optionalText is text, but an absent value is the fallback.
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

// id is a required non-negative integer, as a number or decimal text.
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

// decimal reads a number of digits only.
func decimal(s string) (int, bool) {
	if s == "" || !allOf(s, func(c byte) bool { return c >= '0' && c <= '9' }) {
		return 0, false
	}
	id, err := strconv.ParseInt(s, 10, 64)
	return int(id), err == nil && id <= maxID
}

// canonical is decimal for map keys: it accepts only the canonical spelling.
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

// each visits the members of an optional object in the order of their keys. A key of another form adds a line and is
// skipped.
func (n node) each(form keyForm, visit func(key string, member node)) {
	fields := n.object()
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		member := n.get(key)
		if !form.fits(key) {
			n.check.add(expectingLine(form.what, "key of "+n.path, show(n.name(key))))
			continue
		}
		visit(key, member)
	}
}

// texts is a required object of strings, which may be secrets.
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

// environment is the texts of a service's variables. YAML turns a key without a value into null. As the whole
// environment it means no variables, as a variable it means unset.
func (n node) environment() map[string]string {
	fields, _ := n.value.(map[string]any)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	return n.orEmpty().texts(variableKey())
}

// labels is the texts of a service's labels. null means no labels, and for one label an empty value.
func (n node) labels() map[string]string {
	fields, _ := n.value.(map[string]any)
	for key, value := range fields {
		if value == nil {
			fields[key] = ""
		}
	}
	return n.orEmpty().texts(labelKey())
}

// orEmpty replaces null by an empty object.
func (n node) orEmpty() node {
	if n.present && n.value == nil {
		n.value = map[string]any{}
	}
	return n
}

// objects is an optional object of objects. null is an empty one.
func (n node) objects(form keyForm) map[string]Map {
	out := map[string]Map{}
	n.each(form, func(key string, member node) {
		if member = member.orEmpty(); member.isObject() {
			out[key] = member.value.(map[string]any)
		}
	})
	return out
}

// Truthy reports whether a value is true, 1, or the text 1, true or on in upper or lower case (docs/spec/device-api.md
// 1.6). The labels of features and updates follow this rule too.
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

// isDeeperThan reports whether a tree has more than limit levels. It visits no deeper ones.
func isDeeperThan(value any, limit int) bool {
	if limit < 0 {
		return true
	}
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			if isDeeperThan(member, limit-1) {
				return true
			}
		}
	case []any:
		for _, element := range v {
			if isDeeperThan(element, limit-1) {
				return true
			}
		}
	}
	return false
}
