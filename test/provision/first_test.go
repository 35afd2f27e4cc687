package provision_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 21: what of the configuration is out of the ordinary is told to each cloud once.
func TestFirstConfiguration(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"persistentLogging": true})
	s.Start()
	posted := harness.WaitRequests(t, harness.Soon, cloud, fakecloud.ConfigVar, 1)
	s.WaitSettled(harness.Soon)
	if posted = cloud.Calls(fakecloud.ConfigVar); len(posted) != 1 {
		t.Fatalf("posted variables: %+v", posted)
	}
	d := cloud.Device(t, s.UUID)
	if body := posted[0].JSON(t); body["name"] != "RESIN_SUPERVISOR_PERSISTENT_LOGGING" || body["value"] != "true" || body["device"] != float64(d.ID) ||
		len(body) != 3 || posted[0].Bearer != "Bearer "+d.Key {
		t.Errorf("posted %v by %s", body, posted[0].Bearer)
	}
	n := len(cloud.Calls(fakecloud.State))
	s.Restart()
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, n+1)
	if again := cloud.Calls(fakecloud.ConfigVar); len(again) != 1 {
		t.Errorf("posted again: %+v", again[1:])
	}
	s.Stop()
	other := &fakecloud.Cloud{}
	_, ca := other.StartTLS(t)
	doc := s.ReadConfig()
	joined := other.Add(s.UUID, doc["deviceApiKey"].(string), harness.Fleet)
	doc["apiEndpoint"], doc["deviceId"] = other.Origin, joined.ID
	s.WriteJSON("boot/config.json", doc)
	if err := os.WriteFile(s.CAPath(), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Start()
	var names []string
	for _, r := range harness.WaitRequests(t, harness.Soon, other, fakecloud.ConfigVar, 2) {
		names = append(names, r.JSON(t)["name"].(string))
	}
	slices.Sort(names) // this cloud does not say how often to poll
	if !slices.Equal(names, []string{"RESIN_SUPERVISOR_PERSISTENT_LOGGING", "RESIN_SUPERVISOR_POLL_INTERVAL"}) {
		t.Errorf("posted to the next cloud: %v", names)
	}
}

// cloud.md 22: until the cloud took the configuration nothing of its target is stored or applied. Reports are sent all
// the same.
func TestFirstConfigurationFails(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"persistentLogging": true})
	cloud.Break(fakecloud.ConfigVar, fakecloud.Status(500))
	s.Start()
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.ConfigVar, 2)
	reporting(t, cloud)
	if _, err := os.Stat(s.Path("documents/target.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a target is stored: %v", err)
	}
	cloud.Mend(fakecloud.ConfigVar)
	harness.Until(t, time.Minute, "a target", func() error {
		_, err := os.Stat(s.Path("documents/target.json"))
		return err
	})
	if got := cloud.Device(t, s.UUID).Config; got["RESIN_SUPERVISOR_PERSISTENT_LOGGING"] != "true" {
		t.Errorf("the cloud has %v", got)
	}
}

// cloud.md 22: a variable that the cloud will never take is left out: it keeps the device neither from its target
// nor from telling the others.
func TestFirstConfigurationIsRefused(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"persistentLogging": true})
	s.WriteFile("boot/config.txt", "gpu_mem=32\n")
	cloud.Break(fakecloud.ConfigVar, func(_ *fakecloud.Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
		body, _ := io.ReadAll(r.Body)
		if r.Body = io.NopCloser(bytes.NewReader(body)); bytes.Contains(body, []byte("gpu_mem")) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		next(w)
	})
	s.Start()
	reporting(t, cloud)
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, 2)
	if got := cloud.Device(t, s.UUID).Config; len(got) != 1 || got["RESIN_SUPERVISOR_PERSISTENT_LOGGING"] != "true" {
		t.Errorf("the cloud has %v", got)
	}
	if n := len(cloud.Calls(fakecloud.ConfigVar)); n != 2 {
		t.Errorf("variables were posted %d times", n)
	}
	if len(s.LogLines("skipped a variable of the initial configuration that the cloud refuses")) == 0 {
		t.Error("the log does not say that a variable is left out")
	}
}

// cloud.md 18: a registered device whose look-up the cloud refuses gets its target all the same, and its id later.
func TestLookUpIsRefused(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey, "registered_at": 1700000000000, "apiKey": nil})
	cloud.Add(s.UUID, harness.DeviceKey, harness.Fleet)
	cloud.Break(fakecloud.LookUp, fakecloud.Status(400))
	s.Start()
	reporting(t, cloud)
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, 2)
	cloud.Mend(fakecloud.LookUp)
	registered(t, s)
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
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, 3)
	if n := len(cloud.Calls(fakecloud.PatchDevice)); n != 1 {
		t.Errorf("the name was set %d times", n)
	}
}

// cloud.md 91: a preload may pin the device to its release.
func TestPin(t *testing.T) {
	image := "provision/web:v1"
	target := harness.TargetOf(harness.App{ID: harness.Fleet, UUID: harness.ShopUUID, Name: "shop", Commit: "commit1", Release: 77,
		Services: []harness.Service{{ID: 1, Name: "web", ImageID: 1001, Image: image}}})
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			harness.ServerImage(image).Load(t) // the cloud's target, without apps, removes it
			s, cloud := harness.NewManaged(t, harness.Setup{Unprovisioned: true})
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
			harness.WaitRequests(t, harness.Soon, cloud, fakecloud.FindRelease, 2) // the first one failed
			reporting(t, cloud)
			harness.Until(t, harness.Soon, "the wish to be settled", func() error {
				if strings.Contains(s.ReadFile("documents/target.json"), `"pin"`) {
					return errors.New("still stored")
				}
				return nil
			})
			d := cloud.Device(t, s.UUID)
			if known && d.Pinned != 77 || !known && len(cloud.Calls(fakecloud.PatchDevice)) != 0 {
				t.Errorf("pinned to %d by %+v", d.Pinned, cloud.Calls(fakecloud.PatchDevice))
			}
			n := len(cloud.Calls(fakecloud.State))
			s.Restart()
			harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, n+1)
			if n := len(cloud.Calls(fakecloud.FindRelease)); n != 2 {
				t.Errorf("asked %d times for the release", n)
			}
		})
	}
}

// cloud.md 91: a cloud that does not pin the device keeps it neither from polling nor from reporting, and is asked
// again.
func TestPinIsRefused(t *testing.T) {
	image := harness.ServerImage("provision/web:v1").Load(t).Name
	target := harness.TargetOf(harness.App{ID: harness.Fleet, UUID: "5aa0c0ffee5aa0c0ffee5aa0c0ffee52", Name: "shop", Commit: "commit1", Release: 78,
		Services: []harness.Service{{ID: 1, Name: "web", ImageID: 1001, Image: image}}})
	s, cloud := harness.NewManaged(t, harness.Setup{Unprovisioned: true})
	apps := target.V3()
	delete(apps, "name")
	apps["pinDevice"] = true
	s.WriteJSON("data/apps.json", apps)
	cloud.Add("another", "anotherkey", harness.Fleet)
	cloud.Assign("another", target.V3())
	cloud.Break(fakecloud.PatchDevice, fakecloud.Status(400))
	s.Start()
	registered(t, s)
	polls := harness.WaitRequests(t, harness.Soon, cloud, fakecloud.State, 3)
	reporting(t, cloud)
	patches := harness.WaitRequests(t, harness.Soon, cloud, fakecloud.PatchDevice, 2)
	if patches[0].Path != fmt.Sprintf("/v7/device(%d)", cloud.Device(t, s.UUID).ID) || !patches[0].At.Before(polls[1].At) {
		t.Errorf("the first try was %+v", patches[0])
	}
	cloud.Mend(fakecloud.PatchDevice)
	harness.Until(t, harness.Soon, "the pin", func() error {
		if d := cloud.Device(t, s.UUID); d.Pinned != 78 {
			return fmt.Errorf("pinned to %d", d.Pinned)
		}
		return nil
	})
}
