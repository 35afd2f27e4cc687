package api

import (
	"bufio"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// The limits of a form.
const (
	maxForm       = maxFieldBytes // bytes
	maxFormFields = 1000          // docs/spec/device-api.md 1.5
	maxFormDepth  = 32            // deeper brackets stay part of the last key
	maxFormParts  = 4000          // of all keys together: each part of a nested key costs an object
)

var errTooManyFields = &bodyError{fasthttp.StatusRequestEntityTooLarge, "too many parameters"}

// readForm reads a form to its end and decodes it.
func readForm(in *bufio.Reader, to *bodyBuffer) (map[string]any, error) {
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

// decodeForm decodes a form whose keys may be nested: a=1, net[host]=x, list[]=1. All leaves are text. A repeated
// key makes a list. When a key is both a leaf and nested, the last one wins.
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

// formPath splits "a[b][]" into "a", "b", "". A key whose brackets are not closed stays whole.
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

// joined is value alone, or a list of the earlier values and value.
func joined(earlier any, value string) any {
	switch v := earlier.(type) {
	case string:
		return []any{v, value}
	case []any:
		return append(v, value)
	}
	return value
}

// isIndex tells whether the last bracket of a key makes a list: it is empty, or a number from 0 to 20.
func isIndex(s string) bool {
	if s == "" {
		return true
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 20
}
