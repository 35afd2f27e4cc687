package api

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// match compares the raw path of a request with the path of a route: letter case does not count
// and one slash may follow (docs/spec/device-api.md 1.4). A segment that starts with a colon stands
// for one non-empty segment, which is returned as it was sent.
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
		pattern, path = cutSegment(pattern[colon:]), path[colon:]
		param = path[:len(path)-len(cutSegment(path))]
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

// cutSegment is what follows the first segment of s.
func cutSegment(s string) string {
	if slash := strings.IndexByte(s, '/'); slash >= 0 {
		return s[slash:]
	}
	return ""
}

// unescape decodes a path parameter. Sequences that are not UTF-8 are refused too.
func unescape(raw string) (string, bool) {
	s, err := url.PathUnescape(raw)
	return s, err == nil && utf8.ValidString(s)
}
