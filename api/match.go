package api

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// match compares the raw path of a request with the path of a route (docs/spec/device-api.md 1.4). It ignores letter
// case and one slash at the end. A segment of the pattern that starts with a colon matches any non-empty segment,
// which match returns as it was sent.
func match(pattern, path string) (param string, ok bool) {
	for {
		colon := strings.Index(pattern, "/:")
		if colon < 0 {
			return param, equalTail(pattern, path)
		}
		colon++
		if len(path) <= colon || !strings.EqualFold(pattern[:colon], path[:colon]) {
			return "", false
		}
		pattern, path = afterSegment(pattern[colon:]), path[colon:]
		param = path[:len(path)-len(afterSegment(path))]
		path = path[len(param):]
		if param == "" {
			return "", false
		}
	}
}

func equalTail(pattern, path string) bool {
	if len(path) == len(pattern)+1 {
		path = strings.TrimSuffix(path, "/")
	}
	return len(path) == len(pattern) && strings.EqualFold(pattern, path)
}

// afterSegment is the rest of s after its first segment.
func afterSegment(s string) string {
	if slash := strings.IndexByte(s, '/'); slash >= 0 {
		return s[slash:]
	}
	return ""
}

// unescape decodes a path parameter. It refuses a parameter that is not valid UTF-8.
func unescape(raw string) (string, bool) {
	s, err := url.PathUnescape(raw)
	return s, err == nil && utf8.ValidString(s)
}
