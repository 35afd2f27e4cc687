package api

import (
	"os"
	"strings"
	"testing"
)

// Each route has a section in docs/API.md with a curl line that calls it, and each section belongs to a route. The
// tests in test/surface run the lines.
func TestEveryRouteIsInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for section := range strings.SplitSeq(string(text), "\n### ") {
		title, rest, _ := strings.Cut(section, "\n")
		method, path, ok := strings.Cut(title, " ")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		r, _ := find(method, strings.ReplaceAll(path, ":appId", "12"))
		if r == nil || r.method != method || r.path != path {
			t.Errorf("section %s is of no route", title)
		}
		shown[title] = calls(rest, method, path)
	}
	for _, r := range routes {
		title := r.method + " " + r.path
		if have, ok := shown[title]; !have {
			t.Errorf("%s: section %v, curl line %v", title, ok, have)
		}
	}
}

// calls tells whether one of the curl lines of a section calls the endpoint.
func calls(section, method, path string) bool {
	section = strings.ReplaceAll(section, "\\\n", " ")
	path = "$ADDR" + strings.ReplaceAll(path, ":appId", "$APP")
	for line := range strings.Lines(section) {
		if i := strings.LastIndex(line, "curl "); i >= 0 && strings.Contains(section, "$ curl ") {
			words := strings.Fields(strings.ReplaceAll(line[i:], `"`, " "))
			sent, hit := "GET", false
			for i, w := range words {
				switch {
				case w == "-X":
					sent = words[i+1]
				case w == "-d" && sent == "GET":
					sent = "POST"
				case w == path || strings.HasPrefix(w, path+"?"):
					hit = true
				}
			}
			if hit && sent == method {
				return true
			}
		}
	}
	return false
}
