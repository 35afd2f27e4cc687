package engine

import (
	"fmt"
	"slices"
	"testing"

	"resin-supervisor/update/engine/doc"
)

// message reads "id status current/total" into a pull message; a dash is no id.
func message(t *testing.T, line string) *doc.PullMessage {
	t.Helper()
	m := &doc.PullMessage{}
	var n, total int64
	var status string
	if _, err := fmt.Sscanf(line, "%s %q %d/%d", &m.ID, &status, &n, &total); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if m.ID == "-" {
		m.ID = ""
	}
	m.Status, m.ProgressDetail = status, doc.ProgressDetail{Current: n, Total: total}
	return m
}

func TestProgress(t *testing.T) {
	f := func(name string, lines []string, want ...int) {
		t.Helper()
		var p progress
		var got []int
		for _, line := range lines {
			p.add(message(t, line))
			got = append(got, p.percent)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	f("two layers", []string{
		`1.0 "Pulling from shop/web" 0/0`,
		`a "Pulling fs layer" 0/0`,
		`b "Pulling fs layer" 0/0`,
		`b "Waiting" 0/0`,
		`a "Downloading" 50/100`,
		`b "Downloading" 1/4`,
		`a "Verifying Checksum" 0/0`,
		`a "Download complete" 0/0`,
		`a "Extracting" 30/60`,
		`b "Download complete" 0/0`,
		`a "Pull complete" 0/0`,
		`b "Extracting" 99/100`,
		`b "Pull complete" 0/0`,
		`- "Digest: sha256:00" 0/0`,
		`- "Status: Downloaded newer image for shop/web:1" 0/0`,
	}, 0, 0, 0, 0, 12, 18, 31, 31, 43, 62, 75, 99, 100, 100, 100)
	f("up to date", []string{
		`1.0 "Pulling from shop/web" 0/0`,
		`- "Digest: sha256:00" 0/0`,
		`- "Status: Image is up to date for shop/web:1" 0/0`,
	}, 0, 0, 100)
	f("base layer exists, announced first", []string{
		`a "Already exists" 0/0`,
		`b "Pulling fs layer" 0/0`,
		`b "Downloading" 1/2`,
	}, 0, 0, 62)
	f("a layer starts over", []string{
		`a "Pulling fs layer" 0/0`,
		`a "Downloading" 90/100`,
		`a "Retrying in 5 seconds" 0/0`,
		`a "Downloading" 10/100`,
		`a "Downloading" 94/100`,
	}, 0, 45, 45, 45, 47)
	f("sizes that make no sense", []string{
		`a "Downloading" 5/0`,
		`a "Downloading" 5/-1`,
		`a "Downloading" -5/10`,
		`a "Downloading" 20/10`,
	}, 0, 0, 0, 50)
	f("texts of another engine", []string{
		`a "Applying delta" 1/2`,
		`- "Computing" 1/2`,
	}, 0, 0)
}
