package provision_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 21: what of the configuration is out of the ordinary is told to each cloud once.
func TestFirstConfiguration(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"persistentLogging": true})
	s.Start()
	reporting(t, cloud)
	posted := cloud.Calls(fakecloud.ConfigVar)
	if len(posted) != 1 {
		t.Fatalf("posted variables: %+v", posted)
	}
	d := cloud.Device(t, s.UUID)
	if body := posted[0].JSON(t); body["name"] != "RESIN_SUPERVISOR_PERSISTENT_LOGGING" || body["value"] != "true" || body["device"] != float64(d.ID) ||
		len(body) != 3 || posted[0].Bearer != "Bearer "+d.Key {
		t.Errorf("posted %v by %s", body, posted[0].Bearer)
	}
	n := len(cloud.Calls(fakecloud.State))
	s.Restart()
	calls(t, cloud, fakecloud.State, n+1)
	if again := cloud.Calls(fakecloud.ConfigVar); len(again) != 1 {
		t.Errorf("posted again: %+v", again[1:])
	}
	s.Stop()
	other := &fakecloud.Cloud{}
	_, ca := other.StartTLS(t)
	doc := config(t, s)
	joined := other.Add(s.UUID, doc["deviceApiKey"].(string), harness.Fleet)
	doc["apiEndpoint"], doc["deviceId"] = other.Origin, joined.ID
	s.WriteJSON("boot/config.json", doc)
	if err := os.WriteFile(s.CAPath(), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Start()
	reporting(t, other)
	var names []string
	for _, r := range other.Calls(fakecloud.ConfigVar) {
		names = append(names, r.JSON(t)["name"].(string))
	}
	slices.Sort(names) // this cloud does not say how often to poll
	if !slices.Equal(names, []string{"RESIN_SUPERVISOR_PERSISTENT_LOGGING", "RESIN_SUPERVISOR_POLL_INTERVAL"}) {
		t.Errorf("posted to the next cloud: %v", names)
	}
}

// cloud.md 22: until the cloud took the configuration nothing of its target is applied or reported.
func TestFirstConfigurationFails(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"persistentLogging": true})
	cloud.Break(fakecloud.ConfigVar, fakecloud.Status(500))
	s.Start()
	calls(t, cloud, fakecloud.ConfigVar, 3)
	if n := len(cloud.Calls(fakecloud.Report)); n != 0 {
		t.Errorf("%d reports", n)
	}
	if _, err := os.Stat(s.Path("documents/target.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a target is stored: %v", err)
	}
	cloud.Mend(fakecloud.ConfigVar)
	reporting(t, cloud)
	if got := cloud.Device(t, s.UUID).Config; got["RESIN_SUPERVISOR_PERSISTENT_LOGGING"] != "true" {
		t.Errorf("the cloud has %v", got)
	}
}

// cloud.md 23: the first name of the device is set once.
func TestFirstName(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"initialDeviceName": "greenhouse"})
	s.Start()
	reporting(t, cloud)
	if name := cloud.Device(t, s.UUID).Name; name != "greenhouse" || len(cloud.Calls(fakecloud.PatchDevice)) != 1 {
		t.Errorf("the device is called %q after %d calls", name, len(cloud.Calls(fakecloud.PatchDevice)))
	}
}

// cloud.md 23: nothing waits for the first name, and one that is refused is not tried again.
func TestFirstNameIsRefused(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"initialDeviceName": "greenhouse"})
	cloud.Break(fakecloud.PatchDevice, fakecloud.Status(500))
	s.Start()
	reporting(t, cloud)
	s.Restart()
	calls(t, cloud, fakecloud.State, 3)
	if n := len(cloud.Calls(fakecloud.PatchDevice)); n != 1 {
		t.Errorf("the name was set %d times", n)
	}
}

// cloud.md 91: a preload may pin the device to its release.
func TestPin(t *testing.T) {
	image := harness.ServerImage("provision/web:v1").LoadInto(t, harness.SharedEngine(t)).Name
	target := harness.Target{Apps: []harness.App{{ID: harness.Fleet, UUID: "5aa0c0ffee5aa0c0ffee5aa0c0ffee51", Name: "shop", Commit: "commit1", Release: 77,
		Services: []harness.Service{{ID: 1, Name: "web", ImageID: 1001, Image: image}}}}}
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			s, cloud := unprovisioned(t, harness.Setup{})
			apps := target.V3()
			delete(apps, "name")
			apps["pinDevice"] = true
			s.WriteJSON("data/apps.json", apps)
			if known {
				cloud.Add("another", "anotherkey", harness.Fleet)
				cloud.Assign("another", target.V3())
			}
			cloud.Break(fakecloud.FindRelease, fakecloud.Status(500), 1)
			s.Start()
			registered(t, s)
			calls(t, cloud, fakecloud.FindRelease, 2) // the first one failed
			reporting(t, cloud)
			d := cloud.Device(t, s.UUID)
			if known && d.Pinned != 77 || !known && len(cloud.Calls(fakecloud.PatchDevice)) != 0 {
				t.Errorf("pinned to %d by %+v", d.Pinned, cloud.Calls(fakecloud.PatchDevice))
			}
			n := len(cloud.Calls(fakecloud.State))
			s.Restart()
			calls(t, cloud, fakecloud.State, n+1)
			if n := len(cloud.Calls(fakecloud.FindRelease)); n != 2 {
				t.Errorf("asked %d times for the release", n)
			}
		})
	}
}
