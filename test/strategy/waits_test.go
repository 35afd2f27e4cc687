package strategy_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
)

// What a service waits for is in status, in its JSON and, once, in the log; a device on which a wanted service
// does not run is not up to date.
func TestStatusTellsWhatServicesWaitFor(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image, once := harness.ServerImage("order/app:v1").Load(t), harness.OneshotImage("order/once:v1").Load(t)
	job := once.Service("job", 1).Composed("restart", "no").Setting("EXIT_CODE", "3")
	app := harness.Shop("aaaa1", 1, job, checked(image.Service("sick", 2), "/tmp/ready"),
		image.Service("late", 3).Composed("depends_on", dict{"job": dict{"condition": "service_completed_successfully"}}),
		image.Service("after", 4).Composed("depends_on", dict{"sick": dict{"condition": "service_healthy"}}))
	s.PostTarget(harness.TargetOf(app))
	const lateWaits, afterWaits = "waits for job: it exited with 3", "waits for sick: it is unhealthy"
	s.WaitOverview(harness.Soon, "update incomplete, after waits, late waits", lateWaits, afterWaits)
	if waits := waiting(t, s); waits["late"] != lateWaits || waits["after"] != afterWaits || waits["sick"] != "" {
		t.Errorf("status --json says %v", waits)
	}
	logged := func(service, why string) (n int) {
		for _, line := range s.LogLines("waiting") {
			if line["service"] == service && line["reason"] == why {
				n++
			}
		}
		return n
	}
	before := len(s.LogLines("waiting"))
	for range 3 { // further passes
		s.Post("/v1/update", nil).Want(t, http.StatusNoContent, "")
		s.WaitOverview(harness.Soon, lateWaits)
	}
	if logged("late", lateWaits) != 1 || logged("after", afterWaits) != 1 || len(s.LogLines("waiting")) != before {
		t.Errorf("logged: %v", s.LogLines("waiting"))
	}
	harness.MustAsk(t, s.Containers()["sick"], http.MethodPut, "/file?path=/tmp/ready", "")
	s.WaitOverview(harness.Soon, "update incomplete, late waits")
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2).With(job.Setting("EXIT_CODE", "0"), app.Services[1], app.Services[2], app.Services[3])))
	s.WaitOverview(harness.Soon, "up to date")
	if waits := waiting(t, s); len(waits) != 0 {
		t.Errorf("status --json still says %v", waits)
	}
}

// waiting is what status --json says that services wait for.
func waiting(t *testing.T, s *harness.Supervisor) map[string]string {
	t.Helper()
	var o struct {
		Apps []struct {
			Services []struct{ Name, Waits string }
		}
	}
	_, text, _ := s.Run("status", "--json")
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	waits := map[string]string{}
	for _, a := range o.Apps {
		for _, one := range a.Services {
			if one.Waits != "" {
				waits[one.Name] = one.Waits
			}
		}
	}
	return waits
}
