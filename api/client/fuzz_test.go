package client

import (
	"encoding/json"
	"strings"
	"testing"

	"resin-supervisor/api/overview"
)

// The page fits into 80 columns of printable ASCII, whatever the API answers.
func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"synced":true,"device":{"name":"\u001b[2Jx"},"apps":[{"id":1,"name":"a","services":[{"name":"w"}],"containers":[{"serviceName":"w","status":"Running"}]}]}`))
	f.Add([]byte(`{"apps":[{"images":[{"serviceName":"w","status":"Downloading","progress":-7}]}],"problems":[{"subject":"\u00fc\u4e2d","error":"e\ne"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var o overview.Overview
		if json.Unmarshal(text, &o) != nil {
			return
		}
		for line := range strings.Lines(Page(o)) {
			line = strings.TrimSuffix(line, "\n")
			if len(line) > width || strings.Trim(line, printable) != "" {
				t.Fatalf("line %q", line)
			}
		}
	})
}

const printable = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
