package provision_test

import (
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

var hex32 = regexp.MustCompile(`^[0-9a-f]{32}$`)

// cloud.md 10, 11, 12: what the device registers with is durable before it does, and from then on it
// uses its own key.
func TestRegister(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"uuid": nil})
	var before map[string]any
	cloud.Break(fakecloud.Register, func(_ *fakecloud.Cloud, w http.ResponseWriter, _ *http.Request, next func(http.ResponseWriter)) {
		before = s.ReadConfig()
		next(w)
	}, 1)
	s.Start()
	doc := registered(t, s)
	reporting(t, cloud)
	asked := cloud.Calls(fakecloud.Register)
	if len(asked) != 1 {
		t.Fatalf("%d registrations", len(asked))
	}
	r := asked[0]
	if r.Method != "POST" || r.Path != "/device/register" || r.Bearer != "Bearer "+harness.ProvisioningKey || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("registered by %s %s %s %v", r.Method, r.Path, r.Bearer, r.Header)
	}
	body := r.JSON(t)
	uuid, _ := body["uuid"].(string)
	key, _ := body["api_key"].(string)
	if !hex32.MatchString(uuid) || !hex32.MatchString(key) || body["application"] != float64(harness.Fleet) || body["device_type"] != "raspberrypi3" ||
		body["os_version"] != "balenaOS 6.4.1" || body["os_variant"] != "prod" || body["supervisor_version"] == "" {
		t.Errorf("registered with %v", body)
	}
	if mac, given := body["mac_address"]; given && mac == "" {
		t.Error("an empty mac_address is sent")
	}
	if before["uuid"] != uuid || before["deviceApiKey"] != key {
		t.Errorf("config.json held %v when the request came", before)
	}
	if at, _ := doc["registered_at"].(float64); at < 1e12 || at >= 1e13 {
		t.Errorf("registered_at is %v", doc["registered_at"])
	}
	if d := cloud.Device(t, uuid); doc["deviceId"] != float64(d.ID) {
		t.Errorf("deviceId is %v, want %d", doc["deviceId"], d.ID)
	}
	if next := cloud.Calls(fakecloud.State); len(next) == 0 || next[0].Bearer != "Bearer "+key {
		t.Error("the device does not use its own key")
	}
}

// cloud.md 13: the cloud knows the device and its key already.
func TestConflictOfAKnownDevice(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey})
	d := cloud.Add(s.UUID, harness.DeviceKey, harness.Fleet)
	s.Start()
	if doc := registered(t, s); doc["deviceId"] != float64(d.ID) || doc["uuid"] != s.UUID {
		t.Errorf("config.json: %v", doc)
	}
	if look := cloud.Calls(fakecloud.LookUp); len(look) != 1 || look[0].Bearer != "Bearer "+harness.DeviceKey ||
		look[0].Query.Get("$select") != "id" || look[0].Query.Get("$filter") != "uuid eq '"+s.UUID+"'" {
		t.Errorf("look-ups: %+v", look)
	}
	if n := len(cloud.Calls(fakecloud.DeviceKey)); n != 0 {
		t.Errorf("%d keys were posted", n)
	}
}

// cloud.md 14: the cloud knows the device by another key.
func TestConflictOfAnotherKey(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey})
	d := cloud.Add(s.UUID, "formerkey", harness.Fleet)
	s.Start()
	registered(t, s)
	look := cloud.Calls(fakecloud.LookUp)
	if len(look) != 2 || look[0].Bearer != "Bearer "+harness.DeviceKey || look[1].Bearer != "Bearer "+harness.ProvisioningKey {
		t.Errorf("look-ups: %+v", look)
	}
	posted := cloud.Calls(fakecloud.DeviceKey)
	if len(posted) != 1 || posted[0].Bearer != "Bearer "+harness.ProvisioningKey || posted[0].JSON(t)["apiKey"] != harness.DeviceKey {
		t.Errorf("posted keys: %+v", posted)
	}
	if got := cloud.Device(t, s.UUID); got.Key != harness.DeviceKey || got.ID != d.ID {
		t.Errorf("the cloud has %+v", got)
	}
}

// cloud.md 15: the uuid belongs to somebody else, so the device takes another one.
func TestConflictOfAForeignDevice(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey})
	cloud.Add(s.UUID, "foreignkey", 99)
	s.Start()
	doc := registered(t, s)
	uuid, _ := doc["uuid"].(string)
	if !hex32.MatchString(uuid) || uuid == s.UUID || doc["deviceApiKey"] == harness.DeviceKey {
		t.Errorf("config.json: %v", doc)
	}
	tries := cloud.Calls(fakecloud.Register)
	if len(tries) != 2 || tries[1].JSON(t)["uuid"] != uuid || tries[1].JSON(t)["api_key"] != doc["deviceApiKey"] {
		t.Errorf("registrations: %+v", tries)
	}
	if n := len(cloud.Devices()); n != 2 {
		t.Errorf("the cloud has %d devices", n)
	}
	reporting(t, cloud)
	if got := cloud.Device(t, uuid).State["api_secret"]; got != s.Key() {
		t.Errorf("reported secret %v", got)
	}
}

// cloud.md 16 (Q3): an outage in the middle of an exchange makes no second device.
func TestConflictAndOutage(t *testing.T) {
	for name, fault := range map[string]fakecloud.Fault{"dropped": fakecloud.Drop, "500": fakecloud.Status(500), "lost": fakecloud.Lose, "garbage": fakecloud.Garbage} {
		t.Run(name, func(t *testing.T) {
			s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey})
			cloud.Add(s.UUID, "formerkey", harness.Fleet)
			cloud.Break(fakecloud.LookUp, fault)
			s.Start()
			harness.WaitRequests(t, harness.Soon, cloud, fakecloud.Register, 3)
			if doc := s.ReadConfig(); doc["uuid"] != s.UUID || doc["deviceApiKey"] != harness.DeviceKey || doc["apiKey"] != harness.ProvisioningKey {
				t.Errorf("config.json: %v", doc)
			}
			cloud.Mend(fakecloud.LookUp)
			registered(t, s)
			if n := len(cloud.Devices()); n != 1 {
				t.Errorf("the cloud has %d devices", n)
			}
		})
	}
}

// cloud.md 17: a refused registration is tried again after bootstrapRetryDelay, with the same identity.
func TestRefusedRegistration(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"bootstrapRetryDelay": 1000})
	const dropped = 3
	faults := []fakecloud.Fault{fakecloud.Status(401), fakecloud.Status(403), fakecloud.Status(500), dropped: fakecloud.Drop,
		4: fakecloud.Truncate, 5: fakecloud.WrongType}
	cloud.Break(fakecloud.Register, fakecloud.InTurn(faults...))
	s.Start()
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.Register, len(faults)+1)
	registered(t, s)
	tries := cloud.Calls(fakecloud.Register)
	for i, r := range tries[1:] {
		if r.JSON(t)["uuid"] != s.UUID || r.JSON(t)["api_key"] != tries[0].JSON(t)["api_key"] {
			t.Errorf("try %d registers %v", i+1, r.JSON(t))
		}
		// Where a kept connection broke off without an answer, the same try is made on a new one at once.
		if gap := r.At.Sub(tries[i].At); gap < 1000e6 && i != dropped {
			t.Errorf("try %d came after %v", i+1, gap)
		}
	}
	if n := len(cloud.Devices()); n != 1 {
		t.Errorf("the cloud has %d devices", n)
	}
}

// cloud.md 18: a registered device that does not know its id asks for it once.
func TestPreProvisionedWithoutID(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey, "registered_at": 1700000000000, "apiKey": nil})
	d := cloud.Add(s.UUID, harness.DeviceKey, harness.Fleet)
	s.Start()
	if doc := registered(t, s); doc["deviceId"] != float64(d.ID) || doc["registered_at"] != 1700000000000.0 {
		t.Errorf("config.json: %v", doc)
	}
	reporting(t, cloud)
	if len(cloud.Calls(fakecloud.LookUp)) != 1 || len(cloud.Calls(fakecloud.Register, fakecloud.DeviceKey)) != 0 {
		t.Errorf("calls: %+v", cloud.Calls(fakecloud.LookUp, fakecloud.Register, fakecloud.DeviceKey))
	}
}

// cloud.md 19, 9: an exchange that was not finished is finished, and a refused one leaves the identity.
func TestLeftoverProvisioningKey(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"deviceApiKey": harness.DeviceKey, "registered_at": 1700000000000})
	d := cloud.Add(s.UUID, "formerkey", harness.Fleet)
	doc := s.ReadConfig()
	doc["deviceId"] = d.ID
	s.WriteJSON("boot/config.json", doc)
	cloud.Break(fakecloud.DeviceKey, fakecloud.Status(401))
	s.Start()
	harness.WaitRequests(t, harness.Soon, cloud, fakecloud.DeviceKey, 3)
	if doc := s.ReadConfig(); doc["uuid"] != s.UUID || doc["deviceApiKey"] != harness.DeviceKey || doc["deviceId"] != float64(d.ID) {
		t.Errorf("config.json: %v", doc)
	}
	cloud.Mend(fakecloud.DeviceKey)
	registered(t, s)
	if n := len(cloud.Devices()); n != 1 {
		t.Errorf("the cloud has %d devices", n)
	}
}

// cloud.md 20: a device that is registered asks for nothing of it.
func TestPreProvisioned(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{})
	before := s.ReadFile("boot/config.json")
	s.Start()
	reporting(t, cloud)
	if asked := cloud.Calls(fakecloud.Register, fakecloud.DeviceKey, fakecloud.LookUp); len(asked) != 0 {
		t.Errorf("calls: %+v", asked)
	}
	if after := s.ReadFile("boot/config.json"); after != before {
		t.Errorf("config.json became %s", after)
	}
}

// A power cut at any step of provisioning repeats it with the same identity: the cloud has one device.
func TestKilledAtEveryStep(t *testing.T) {
	for _, at := range []fakecloud.Endpoint{fakecloud.Register, fakecloud.LookUp, fakecloud.DeviceKey} {
		for _, when := range []string{"before", "after"} {
			t.Run(string(at)+" "+when, func(t *testing.T) {
				s, cloud := fresh(t, map[string]any{"uuid": nil})
				cut := make(chan struct{})
				cloud.Break(at, func(c *fakecloud.Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
					if when == "after" {
						defer fakecloud.Lose(c, w, r, next)
					} else {
						defer fakecloud.Drop(c, w, r, next)
					}
					close(cut)
				}, 1)
				if at != fakecloud.Register { // a registration whose answer was lost, and a key that was
					cloud.Break(fakecloud.Register, func(c *fakecloud.Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
						defer fakecloud.Lose(c, w, r, next)
						if at == fakecloud.DeviceKey {
							defer func() {
								c.Change(c.Devices()[0].UUID, func(d *fakecloud.Device) { d.Key = "formerkey" })
							}()
							next(http.ResponseWriter(discard{http.Header{}}))
						}
					}, 1)
				}
				s.Start()
				<-cut
				s.Kill()
				first := s.ReadConfig()
				s.Start()
				doc := registered(t, s)
				if doc["uuid"] != first["uuid"] || doc["deviceApiKey"] != first["deviceApiKey"] {
					t.Errorf("identity was %v, is %v", first, doc)
				}
				if all := cloud.Devices(); len(all) != 1 || all[0].Key != doc["deviceApiKey"] || float64(all[0].ID) != doc["deviceId"] {
					t.Errorf("the cloud has %+v", all)
				}
				reporting(t, cloud)
			})
		}
	}
}

// discard is an answer nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// cloud.md 24: a device without a cloud calls none, whatever else config.json names. It asks for no key
// when it was made for development.
func TestUnmanaged(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	origin := cloud.Start(t)
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"apiEndpoint": "", "logsEndpoint": origin,
		"developmentMode": true, "deltaEndpoint": origin, "apiKey": harness.ProvisioningKey, "applicationId": harness.Fleet}})
	image := harness.ServerImage("provision/web:v1").Load(t).Name
	s.Apply(harness.Target{Config: map[string]string{"RESIN_SUPERVISOR_DELTA": "1"}, Apps: []harness.App{{ID: 1, Name: "shop", Commit: "commit1", Release: 1,
		Services: []harness.Service{{ID: 1, Name: "web", ImageID: 1, Image: image}}}}})
	for _, path := range []string{"/v1/healthy", "/v1/device", "/v2/state/status"} {
		if a := s.CallAs("", http.MethodGet, path, nil); a.Status != 200 {
			t.Errorf("GET %s: %d %s", path, a.Status, a.Body)
		}
	}
	if asked := cloud.Calls(); len(asked) != 0 {
		t.Errorf("calls: %+v", asked)
	}
	if doc := s.ReadConfig(); doc["deviceApiKey"] != nil || doc["apiKey"] != harness.ProvisioningKey {
		t.Errorf("config.json: %v", doc)
	}
}

// docs/spec/host.md 3.2: killed at any moment of its registration, and its config.json zeros after that, the
// device is still the one that it registered as.
func TestKilledWhileRegistering(t *testing.T) {
	s, cloud := fresh(t, map[string]any{"uuid": nil})
	uuids := map[any]bool{}
	for range 6 {
		s.Start()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // any moment
		s.Kill()
		uuids[s.ReadConfig()["uuid"]] = true
		s.WriteFile("boot/config.json", strings.Repeat("\x00", 512))
	}
	s.Start()
	doc := registered(t, s)
	reporting(t, cloud)
	uuids[doc["uuid"]] = true
	for _, call := range cloud.Calls(fakecloud.Register) {
		uuids[call.JSON(t)["uuid"]] = true
	}
	if len(uuids) != 1 {
		t.Errorf("the device was %v", uuids)
	}
}
