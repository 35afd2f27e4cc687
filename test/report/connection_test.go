package report_test

import (
	"fmt"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 3.1: a poll and the report that follows it share one TLS connection, which is closed soon after: a device at
// rest holds none.
func TestOneConnectionForAPollAndItsReport(t *testing.T) {
	s, cloud := beside(t)
	s.WriteFile("root/run/openvpn/vpn_status/active", "") // nobody tries whether the cloud can be reached
	target := shop(1)
	target.Config = map[string]string{"RESIN_SUPERVISOR_LOG_CONTROL": "false"}
	s.Assign(target)
	s.Start()
	first(t, s, cloud)
	for range 15 { // on a busy machine seconds may pass between the two
		time.Sleep(10 * time.Second) // no report follows another one sooner
		polls, told := len(cloud.Calls(fakecloud.State)), len(reports(t, s, cloud))
		s.PollNow()
		if a := s.Post("/v1/regenerate-api-key", nil); a.Status != 200 {
			t.Fatalf("regenerate: %d %s", a.Status, a.Body)
		}
		s.ForgetKey()
		report, poll := next(t, s, cloud, told), cloud.Calls(fakecloud.State)[polls]
		harness.Until(t, soon, "the end of the connection", func() error {
			if _, open := cloud.Connections(); open > 0 {
				return fmt.Errorf("%d are open", open)
			}
			return nil
		})
		if report.Connection == poll.Connection {
			return
		}
		t.Logf("poll at %v by %s, report at %v by %s", poll.At, poll.Connection, report.At, report.Connection)
	}
	t.Error("each poll and each report had a connection of its own")
}
