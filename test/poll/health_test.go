package poll_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// health waits until the device says that it is as given.
func health(t *testing.T, s *harness.Supervisor, status int, body string) {
	t.Helper()
	harness.Until(t, harness.Soon, fmt.Sprintf("health %d", status), func() error {
		a := s.CallAs("", http.MethodGet, "/v1/healthy", nil)
		if a.Status != status || a.Body != body {
			return fmt.Errorf("%d %q", a.Status, a.Body)
		}
		return nil
	})
}

// cloud.md 97, 100: health follows the polls, and reports do not matter.
func TestHealthOfPolls(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often, WithoutContainers: true})
	cloud.Break(fakecloud.Report, fakecloud.Status(500))
	s.Start()
	polls(t, cloud, 5)
	health(t, s, 200, "OK")
	if n := len(cloud.Calls(fakecloud.Report)); n == 0 {
		t.Error("no report was tried")
	}
	cloud.Break(fakecloud.State, fakecloud.Status(503))
	health(t, s, 500, "Unhealthy")
	cloud.Mend(fakecloud.State)
	health(t, s, 200, "OK")
}

// cloud.md 98: health follows the way to the API, unless that is not to be checked or the VPN is up.
func TestHealthOfTheWay(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: rarely, WithoutContainers: true})
	target := app(1)
	target.Config = map[string]string{"RESIN_SUPERVISOR_CONNECTIVITY_CHECK": "true"}
	s.Assign(target)
	s.Start()
	polls(t, cloud, 1)
	health(t, s, 200, "OK")
	cloud.Down()
	health(t, s, 500, "Unhealthy")
	active := s.Path("root/run/openvpn/vpn_status/active")
	if err := os.WriteFile(active, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	health(t, s, 200, "OK")
	if err := os.Remove(active); err != nil {
		t.Fatal(err)
	}
	health(t, s, 500, "Unhealthy")
	cloud.Up(t)
	health(t, s, 200, "OK")
	target.Config["RESIN_SUPERVISOR_CONNECTIVITY_CHECK"] = "false"
	s.Assign(target)
	update(t, s, "", 204)
	harness.Until(t, harness.Soon, "the variable to be known", func() error {
		if stored := s.Get("/v2/local/target-state").Body; !strings.Contains(stored, `"SUPERVISOR_CONNECTIVITY_CHECK":"false"`) {
			return errors.New(stored)
		}
		return nil
	})
	cloud.Down()
	s.Restart()
	health(t, s, 200, "OK")
}

// cloud.md 99: an apply that hangs is unhealthy. One that downloads is not, and neither is one that waits
// for a user's lock or for an image that nobody has: no restart of the agent would help these.
func TestHealthOfApplies(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{WithProxy: true, Config: often})
	registry := harness.SharedRegistry(t)
	slow := registry.Slow(t, 20_000)
	big := slow.Of(registry.PushDigest(t, harness.ServerImage("poll/long:v1").WithBlob(2_000_000)))
	s.Assign(app(1, big.Name))
	s.Start()
	beyond(t, cloud)
	health(t, s, 200, "OK")
	if d := s.Device(); d.Status != "Downloading" {
		t.Fatalf("the device is %s", d.Status)
	}
	s.Assign(app(2, local(t, "v1")))
	s.WaitSettled(harness.Soon)
	s.LockUpdates(31, "s0")
	s.Assign(app(3, local(t, "v2")))
	refused(t, s, "take lock")
	beyond(t, cloud)
	refused(t, s, "take lock")
	health(t, s, 200, "OK")
	s.UnlockUpdates(31, "s0")
	s.WaitSettled(harness.Soon)
	s.Assign(app(4, registry.Addr+"/poll/missing:v1"))
	refused(t, s, "fetch")
	beyond(t, cloud)
	refused(t, s, "fetch")
	health(t, s, 200, "OK")
	s.Proxy.Spoil("POST /containers/create", harness.Hang, 0, -1)
	s.Assign(app(5, local(t, "v1")))
	health(t, s, 500, "Unhealthy")
	s.Proxy.Heal()
	s.WaitSettled(harness.Soon)
	health(t, s, 200, "OK")
}

// beyond waits for more than two poll intervals.
func beyond(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	polls(t, cloud, len(answered(cloud))+4)
}

// refused waits for one more failure of a kind of step.
func refused(t *testing.T, s *harness.Supervisor, kind string) {
	t.Helper()
	count := func() (n int) {
		for _, line := range s.LogLines("step did not succeed") {
			if line["step"] == kind {
				n++
			}
		}
		return n
	}
	before := count()
	harness.Until(t, harness.Soon, "a failure of step "+kind, func() error {
		if count() == before {
			return errors.New("none")
		}
		return nil
	})
}
