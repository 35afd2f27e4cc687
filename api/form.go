package api

import (
	"bufio"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// The bounds of a form.
const (
	maxForm       = fieldBytes // bytes
	maxFormFields = 1000       // docs/spec/device-api.md 1.5
	maxFormDepth  = 32         // what is nested deeper stays one key
	maxFormParts  = 4000       // of all keys: each of a nested one costs an object
)

var errTooManyFields = &bodyError{fasthttp.StatusRequestEntityTooLarge, "too many parameters"}

// readForm reads a form to the end.
func readForm(in *bufio.Reader, to *store) (map[string]any, error) {
	for {
		c, err := in.ReadByte()
		switch {
		case err == io.EOF:
			return decodeForm(string(to.bytes))
		case err == nil && len(to.bytes) == maxForm:
			err = errTooLarge
		case err == nil:
			err = to.add(c)
		}
		if err != nil {
			return nil, err
		}
	}
}

// decodeForm takes a form apart whose keys may be nested: a=1, net[host]=x, list[]=1. All leaves are
// text; a repeated key makes a list, and of a key that is both a leaf and nested the last wins.
func decodeForm(s string) (map[string]any, error) {
	if strings.Count(s, "&") >= maxFormFields {
		return nil, errTooManyFields
	}
	form := map[string]any{}
	parts := 0
	for pair := range strings.SplitSeq(s, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key = unescapeForm(key); key == "" {
			continue
		}
		path := formPath(key)
		if parts += len(path); parts > maxFormParts {
			return nil, errTooManyFields
		}
		insert(form, path, unescapeForm(value))
	}
	return form, nil
}

func unescapeForm(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// formPath splits "a[b][]" into "a", "b", "". A key without closed brackets is taken as it is.
func formPath(key string) []string {
	name, rest, found := strings.Cut(key, "[")
	if !found || name == "" || !strings.HasSuffix(rest, "]") {
		return []string{key}
	}
	parts := strings.SplitN(strings.TrimSuffix(rest, "]"), "][", maxFormDepth)
	return append([]string{name}, parts...)
}

func insert(into map[string]any, path []string, value string) {
	key := path[0]
	switch {
	case len(path) == 1:
		into[key] = joined(into[key], value)
	case len(path) == 2 && isIndex(path[1]):
		list, _ := into[key].([]any)
		into[key] = append(list, value)
	default:
		inner, ok := into[key].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[key] = inner
		}
		insert(inner, path[1:], value)
	}
}

// joined is value, or the list of what was there and value.
func joined(have any, value string) any {
	switch v := have.(type) {
	case string:
		return []any{v, value}
	case []any:
		return append(v, value)
	}
	return value
}

// isIndex tells whether a last bracket makes a list: [] or a number small enough to be a position.
func isIndex(s string) bool {
	if s == "" {
		return true
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 20
}
