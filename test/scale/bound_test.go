package scale_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// chain is an app of so many services, each of which waits for the next, of an image that nobody has.
func chain(services int) harness.App {
	app := harness.App{ID: 78, UUID: "5ca1e05ca1e05ca1e05ca1e05ca1e078", Name: "chain", Commit: "cccc1", Release: 1}
	for i := range services {
		app.Services = append(app.Services, harness.Service{ID: i + 1, Name: fmt.Sprintf("s%04d", i), ImageID: 5000 + i,
			Image: "127.0.0.1:1/scale/none:v1", Compose: map[string]any{"depends_on": []any{fmt.Sprintf("s%04d", i+1)}}})
	}
	return app
}

const tooMany = "Expecting at most 2000 services but instead got: 2001"

// A target of more services than a device can have is refused as a whole and changes nothing (docs/spec/cloud.md
// 3.5): one that is posted is 400, one of the cloud is a problem until the cloud has another.
func TestTargetOfTooManyServices(t *testing.T) {
	image := harness.ServerImage("scale/app:v1").Load(t).Name
	small := city(image, "aaaa1", 1, nil)
	small.Services = small.Services[:1]
	t.Run("posted", func(t *testing.T) {
		s := harness.StartSupervisor(t, harness.Setup{})
		s.Apply(harness.TargetOf(small))
		before := s.IDs()
		a := s.Post("/v2/local/target-state", harness.TargetOf(small, chain(2000)).V2())
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, tooMany) {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if s.WaitSettled(patience); s.IDs()["s000"] != before["s000"] {
			t.Error("the container of before was replaced")
		}
	})
	t.Run("of the cloud", func(t *testing.T) {
		s, _ := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 1000}})
		s.Assign(harness.TargetOf(small))
		s.Start()
		s.WaitSettled(patience)
		before := s.IDs()
		s.Assign(harness.TargetOf(small, chain(2000)))
		s.WaitOverview(patience, "update failed", "Problems target state of the cloud: refused", tooMany)
		if s.IDs()["s000"] != before["s000"] {
			t.Error("the container of before was replaced")
		}
		s.Assign(harness.TargetOf(small))
		s.WaitOverview(patience, "up to date")
	})
}
