// Package poll_test proves how a device gets its target state from the cloud and what it does with it,
// and when it counts as healthy (docs/spec/cloud.md 0.2, 3 and 9).
package poll_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

// often is the configuration of a device that polls every second or two, rarely that of one that polls
// at start and then when it is asked to.
var (
	often  = map[string]any{"appUpdatePollInterval": 1000}
	rarely = map[string]any{"appUpdatePollInterval": 600000}
)

// polls waits for so many polls, all counted, and returns them.
func polls(t *testing.T, cloud *fakecloud.Cloud, n int) []fakecloud.Request {
	t.Helper()
	harness.Until(t, harness.Soon, fmt.Sprintf("%d polls", n), func() error {
		if got := len(answered(cloud)); got < n {
			return fmt.Errorf("%d polls", got)
		}
		return nil
	})
	return answered(cloud)
}

// answered are the polls that were answered.
func answered(cloud *fakecloud.Cloud) []fakecloud.Request {
	var list []fakecloud.Request
	for _, r := range cloud.Calls(fakecloud.State) {
		if r.Status != 0 {
			list = append(list, r)
		}
	}
	return list
}

// update asks for a poll as the cloud does.
func update(t *testing.T, s *harness.Supervisor, body string, want int) {
	t.Helper()
	if a := s.Call(harness.Request{Method: http.MethodPost, Path: "/v1/update", Body: body}); a.Status != want {
		t.Fatalf("POST /v1/update %s: %d %s, want %d", body, a.Status, a.Body, want)
	}
}

// app is an app with one service of an image that the engine has; its release is numbered.
func app(release int, images ...string) harness.Target {
	a := harness.Shop(fmt.Sprintf("commit%d", release), release)
	for i, image := range images {
		a.Services = append(a.Services, harness.Service{ID: i + 1, Name: fmt.Sprintf("s%d", i), ImageID: 1000*release + i, Image: image})
	}
	return harness.TargetOf(a)
}

// local is an image that only the engine has.
func local(t *testing.T, tag string) string {
	t.Helper()
	return harness.ServerImage("poll/web:" + tag).Load(t).Name
}

// stored is the document of the targets.
func stored(s *harness.Supervisor) string { return s.ReadFile("documents/target.json") }

// raw is a target as a document that can be spoilt.
func raw(t *testing.T, target harness.Target) map[string]any {
	t.Helper()
	text, err := json.Marshal(target.V3())
	if err != nil {
		t.Fatal(err)
	}
	doc := map[string]any{}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}
