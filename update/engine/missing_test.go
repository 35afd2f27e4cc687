package engine

import "testing"

// Messages of engines that do not have a call, and others with the same status.
func TestIsMissing(t *testing.T) {
	for _, e := range []struct {
		status int
		text   string
		want   bool
	}{
		{404, "page not found", true},
		{404, "Not Found", true},
		{500, "Path /v1.41/distribution/web:1/json is not supported", true},
		{501, "not implemented", true},
		{404, "manifest unknown: manifest unknown", false},
		{404, "repository not found", false},
		{500, "tls: cipher is not supported", false},
		{0, "Not Found", false},
	} {
		if got := IsMissing(&Error{Status: e.status, Message: e.text}); got != e.want {
			t.Errorf("%d %s: %v", e.status, e.text, got)
		}
	}
}
