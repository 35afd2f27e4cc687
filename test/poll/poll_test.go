package poll_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 25, 26, 27, 35: the request, the ETag, compressed answers, and that the same target again
// leads to nothing.
func TestPoll(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	ids := s.IDs()
	all := polls(t, cloud, 5)
	first := all[0]
	if first.Method != "GET" || first.Path != "/device/v3/"+s.UUID+"/state" || first.Bearer != "Bearer "+harness.DeviceKey ||
		!strings.HasPrefix(first.Agent, "Supervisor/") || !strings.HasSuffix(first.Agent, " (Linux; balenaOS 6.4.1; prod)") {
		t.Errorf("first poll: %+v", first)
	}
	if !strings.Contains(first.Header.Get("Accept-Encoding"), "gzip") || first.Header.Get("If-None-Match") != "" {
		t.Errorf("first poll: %v", first.Header)
	}
	for i, r := range all[1:] {
		if r.Status != 304 || !strings.HasPrefix(r.Header.Get("If-None-Match"), `W/"`) {
			t.Errorf("poll %d: %d with %q", i+1, r.Status, r.Header.Get("If-None-Match"))
		}
	}
	before := len(s.Steps())
	polls(t, cloud, len(answered(cloud))+3)
	if after := len(s.Steps()); after != before {
		t.Errorf("polls without news led to %d steps", after-before)
	}
	if now := s.IDs(); now["s0"] != ids["s0"] {
		t.Error("the container was recreated")
	}
	// The ETag survives with the target: a restart does not download it again.
	n := len(answered(cloud))
	s.Restart()
	if next := polls(t, cloud, n+1)[n]; next.Status != 304 {
		t.Errorf("first poll after a restart: %d with %q", next.Status, next.Header.Get("If-None-Match"))
	}
}

// cloud.md 28: what was fetched before the cloud was told of the device's configuration is applied, though the next
// poll finds nothing new.
func TestTargetOfProvisioning(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Unprovisioned: true,
		Config: map[string]any{"appUpdatePollInterval": 600000, "deviceApiKey": harness.DeviceKey, "registered_at": 1700000000000}})
	cloud.Add(s.UUID, harness.DeviceKey, harness.Fleet)
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	n := len(answered(cloud))
	update(t, s, "", 204)
	all := polls(t, cloud, n+1)
	for i, want := 0, 200; i <= n; i++ {
		if i == n {
			want = 304
		}
		if all[i].Status != want {
			t.Errorf("poll %d of %d: %d with %q", i+1, len(all), all[i].Status, all[i].Header.Get("If-None-Match"))
		}
	}
}

// cloud.md 29: a device that is deleted in the cloud keeps what it has, and backs off.
func TestGone(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	s.Stop()
	for _, path := range s.Documents() { // a device that holds no ETag
		if strings.HasPrefix(path, "documents/target") {
			doc := map[string]any{}
			if err := json.Unmarshal([]byte(s.ReadFile(path)), &doc); err != nil {
				t.Fatal(err)
			}
			delete(doc["data"].(map[string]any), "received")
			s.WriteJSON(path, doc)
		}
	}
	ids := s.IDs()
	cloud.Change(s.UUID, func(d *fakecloud.Device) { d.Gone = true })
	s.Start()
	harness.Until(t, harness.Soon, "failures", func() error {
		if n := len(s.LogLines("poll failed")); n < 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if now := s.IDs(); now["s0"] != ids["s0"] || len(now) != 1 {
		t.Errorf("containers are %v, were %v", now, ids)
	}
	if n := len(cloud.Calls(fakecloud.Register)); n != 0 {
		t.Errorf("%d registrations", n)
	}
	cloud.Change(s.UUID, func(d *fakecloud.Device) { d.Gone = false })
	n := len(answered(cloud))
	harness.Until(t, harness.Soon, "the target again", func() error {
		if all := answered(cloud); len(all) == n || all[len(all)-1].Status != 200 {
			return errors.New("not yet")
		}
		return nil
	})
}

// cloud.md 30 (in its place the pure schedule is tested to exhaustion): after any kind of failure it
// is tried again, and one success ends it. 36: what stalls is abandoned.
func TestFailures(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often, WithoutContainers: true})
	target := app(1)
	target.Config = map[string]string{"RESIN_SUPERVISOR_API_REQUEST_TIMEOUT": "500"}
	s.Assign(target)
	s.Start()
	polls(t, cloud, 3)
	for name, fault := range map[string]fakecloud.Fault{
		"drop": fakecloud.Drop, "stall": fakecloud.Stall, "stalled body": fakecloud.StallBody, "truncated": fakecloud.Truncate,
		"garbage": fakecloud.Garbage, "huge": fakecloud.Huge, "type": fakecloud.WrongType, "500": fakecloud.Status(500),
		"429": fakecloud.Status(429, "Retry-After", "1"), "401": fakecloud.Status(401), "404": fakecloud.Status(404),
	} {
		t.Run(name, func(t *testing.T) {
			failed := len(s.LogLines("poll failed"))
			target.Name = "named " + name // so that the body differs from what the device has
			s.Assign(target)
			tries := 1
			if name == "drop" {
				tries = 2 // a call is made once more where a connection that was kept broke off
			}
			cloud.Break(fakecloud.State, fault, tries)
			harness.Until(t, harness.Soon, "the failure", func() error {
				if len(s.LogLines("poll failed")) == failed {
					return errors.New("none")
				}
				return nil
			})
			harness.Until(t, harness.Soon, "the target", func() error {
				var doc struct{ DeviceName string }
				if err := json.Unmarshal([]byte(s.Get("/v2/device/name").Body), &doc); err != nil || doc.DeviceName != target.Name {
					return fmt.Errorf("name is %q (%v)", doc.DeviceName, err)
				}
				return nil
			})
		})
	}
}

// Q4: a server without ETags does not make every poll an apply.
func TestNoETag(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	cloud.Set(func(c *fakecloud.Cloud) { c.NoETag = true })
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	before := stored(s)
	n := len(answered(cloud))
	for i, r := range polls(t, cloud, n+4)[n:] {
		if r.Status != 200 {
			t.Errorf("poll %d: %d", i, r.Status)
		}
	}
	if stored(s) != before || s.Settled() != nil {
		t.Error("the same target again was stored or applied")
	}
	if n := len(s.LogLines("target reached")); n != 1 {
		t.Errorf("the target was reached %d times", n)
	}
}

// cloud.md 32: without instant updates there is no poll at start, nor one that is not forced.
func TestNotInstant(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: rarely, WithoutContainers: true})
	target := app(1)
	target.Config = map[string]string{"RESIN_SUPERVISOR_INSTANT_UPDATE_TRIGGER": "false"}
	s.Assign(target)
	s.Start()
	harness.Until(t, harness.Soon, "the setting", func() error {
		if !strings.Contains(stored(s), "INSTANT_UPDATE_TRIGGER") {
			return errors.New("it is not stored")
		}
		return s.Idle()
	})
	s.Restart()
	s.WaitListed()
	cloud.Forget()
	update(t, s, "", 202)
	update(t, s, `{"cancel":true}`, 202)
	update(t, s, `{"force":true}`, 204)
	polls(t, cloud, 1)
	if n := len(cloud.Calls(fakecloud.State)); n != 1 {
		t.Errorf("%d polls, want the forced one", n)
	}
}

// cloud.md 33: an update that finds nothing new applies what there is once more, with force.
func TestUpdateForces(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: rarely})
	v1, v2 := local(t, "v1"), local(t, "v2")
	s.Assign(app(1, v1))
	s.Start()
	s.WaitSettled(harness.Soon)
	s.LockUpdates(31, "s0")
	s.Assign(app(2, v2))
	update(t, s, "", 204)
	harness.Until(t, harness.Soon, "the lock to be met", s.UpdateFailed)
	n := len(answered(cloud))
	update(t, s, `{"force":true}`, 204)
	s.WaitSettled(harness.Soon)
	if next := polls(t, cloud, n+1)[n]; next.Status != 304 {
		t.Errorf("the forced poll was answered with %d", next.Status)
	}
}

// cloud.md 34: a new target takes the place of a download that is under way.
func TestNewTargetDuringADownload(t *testing.T) {
	engine := harness.SharedEngine(t)
	registry := harness.SharedRegistry(t)
	slow := registry.Slow(t, 20_000)
	s, _ := harness.NewManaged(t, harness.Setup{Config: rarely})
	big := slow.Of(registry.PushDigest(t, harness.ServerImage("poll/big:v1").WithBlob(2_000_000)))
	s.Assign(app(1, big.Name))
	s.Start()
	s.WaitListed()
	harness.Until(t, harness.Soon, "the download", func() error {
		if d := s.Device(); d.Status != "Downloading" {
			return errors.New(d.Status)
		}
		return nil
	})
	s.Assign(app(2, local(t, "v2")))
	update(t, s, "", 204)
	s.WaitSettled(harness.Soon)
	if engine.ImageID(t, big.Name) != "" {
		t.Error("the download went on")
	}
}

// cloud.md 37: a changed interval is stored and used.
func TestInterval(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: rarely, WithoutContainers: true})
	s.Assign(app(1))
	s.Start()
	polls(t, cloud, 1)
	target := app(1)
	target.Config = map[string]string{"RESIN_SUPERVISOR_POLL_INTERVAL": "1000"}
	s.Assign(target)
	update(t, s, "", 204)
	harness.Until(t, harness.Soon, "the interval in config.json", func() error {
		if !strings.Contains(s.ReadFile("boot/config.json"), `"appUpdatePollInterval":1000`) {
			return errors.New(s.ReadFile("boot/config.json"))
		}
		return nil
	})
	s.Restart() // the delay that runs is not shortened, so let another begin
	n := len(answered(cloud))
	polls(t, cloud, n+3)
}

// cloud.md 39: a target that cannot be used leaves everything as it is, also over a restart, and says so.
func TestUnusableTarget(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	ids, before := s.IDs(), stored(s)
	bad := raw(t, app(2, local(t, "v2")))
	bad["config"] = map[string]any{"NOT A NAME": "x"}
	cloud.Assign(s.UUID, bad)
	line := harness.WaitLine(t, cloud, "Could not move to new release: ")
	if line.Message != "Could not move to new release: Invalid target state." || !line.IsSystem {
		t.Errorf("log line %+v", line)
	}
	n := len(answered(cloud))
	for _, r := range polls(t, cloud, n+3)[n:] {
		if r.Status != 304 {
			t.Errorf("a target of no use is asked for again: %d", r.Status)
		}
	}
	if stored(s) != before {
		t.Error("the stored target changed")
	}
	s.Restart()
	n = len(answered(cloud))
	polls(t, cloud, n+2)
	if now := s.IDs(); now["s0"] != ids["s0"] || stored(s) != before {
		t.Errorf("containers are %v, were %v", now, ids)
	}
	told := 0
	for _, line := range cloud.Logs() {
		if strings.HasPrefix(line.Message, "Could not move") {
			told++
		}
	}
	if told < 1 || told > 2 {
		t.Errorf("users were told %d times", told)
	}
}

// Issue point 3: one malformed app does not reject the others, and what runs of it stays.
func TestOneBadApp(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	good := app(1, local(t, "v1"))
	other := good.Apps[0]
	other.Services = []harness.Service{good.Apps[0].Services[0]}
	other.Services[0].Name = "t0" // names of containers do not tell apps apart
	other.ID, other.UUID, other.Name = 32, "6bb0c0ffee6bb0c0ffee6bb0c0ffee62", "other"
	both := harness.TargetOf(good.Apps[0], other)
	s.Assign(both)
	s.Start()
	s.WaitSettled(harness.Soon)
	next := app(2, local(t, "v2")).Apps[0]
	bad := other.Released("commit2", 2)
	doc := raw(t, harness.TargetOf(next, bad))
	release := doc["apps"].(map[string]any)[bad.UUID].(map[string]any)["releases"].(map[string]any)["commit2"].(map[string]any)
	release["services"].(map[string]any)["t0"].(map[string]any)["environment"] = map[string]any{"NOT A NAME": "x"}
	cloud.Assign(s.UUID, doc)
	s.Expect(harness.TargetOf(next, other))
	harness.Until(t, harness.Soon, "the good app", s.Matches)
	harness.WaitLine(t, cloud, "Could not move to new release: ")
}

// cloud.md 46, Q5, host.md 10: the host is told of the configuration.
func TestConfigurationForTheHost(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often, WithoutContainers: true})
	target := app(1)
	target.Config = map[string]string{"BALENA_HOST_EXTLINUX_fdt": "32", "RESIN_SUPERVISOR_OVERRIDE_LOCK": "1"}
	s.Assign(target)
	s.Start()
	s.WaitHostConfig(map[string]any{"BALENA_HOST_EXTLINUX_fdt": "32", "RESIN_HOST_EXTLINUX_fdt": "32", "BALENA_SUPERVISOR_OVERRIDE_LOCK": "1",
		"RESIN_SUPERVISOR_OVERRIDE_LOCK": "1", "SUPERVISOR_OVERRIDE_LOCK": "true", "RESIN_OVERRIDE_LOCK": "true", "RESIN_SUPERVISOR_POLL_INTERVAL": "1000"})
	target.Config = nil
	cloud.Assign(s.UUID, target.V3())
	s.WaitHostConfig(map[string]any{"SUPERVISOR_OVERRIDE_LOCK": "false", "RESIN_OVERRIDE_LOCK": "false", "BALENA_HOST_EXTLINUX_fdt": nil})
}

// cloud.md 47: a target that came and was not stored is fetched and applied again.
func TestKilledWhileTheTargetComes(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: rarely})
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	s.Assign(app(2, local(t, "v2")))
	sent := make(chan struct{})
	cloud.Break(fakecloud.State, func(_ *fakecloud.Cloud, w http.ResponseWriter, _ *http.Request, next func(http.ResponseWriter)) {
		next(w)
		close(sent)
	}, 1)
	update(t, s, "", 204)
	<-sent
	s.Kill()
	s.Start()
	s.WaitSettled(harness.Soon)
}

// cloud.md 48: a target that is for another device is an error and changes nothing.
func TestTargetOfAnotherDevice(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	s.Assign(app(1, local(t, "v1")))
	s.Start()
	s.WaitSettled(harness.Soon)
	before := stored(s)
	cloud.Break(fakecloud.State, fakecloud.Body("application/json", `{"ffffffffffffffffffffffffffffffff":{"name":"x","config":{},"apps":{}}}`), 2)
	harness.Until(t, harness.Soon, "the failures", func() error {
		for _, line := range s.LogLines("poll failed") {
			if strings.Contains(fmt.Sprint(line["error"]), "no entry for device") {
				return nil
			}
		}
		return errors.New("none")
	})
	if stored(s) != before || s.Settled() != nil {
		t.Error("the state changed")
	}
}

// Redirects of the poll are followed, and the key goes to nobody else.
func TestRedirect(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often, WithoutContainers: true})
	s.Assign(app(1))
	s.Start()
	polls(t, cloud, 2)
	cloud.Forget()
	other := &fakecloud.Cloud{}
	elsewhere := other.Start(t)
	cloud.Break(fakecloud.State, fakecloud.Status(302, "Location", elsewhere+"/x"), 1)
	harness.Until(t, harness.Soon, "a failure", func() error {
		if len(s.LogLines("poll failed")) == 0 {
			return errors.New("none")
		}
		return nil
	})
	cloud.Break(fakecloud.State, fakecloud.Status(307, "Location", "/device/v3/"+s.UUID+"/state?again=1"), 1)
	harness.Until(t, harness.Soon, "the redirected poll", func() error {
		for _, r := range answered(cloud) {
			if r.Query.Get("again") == "1" && r.Bearer == "Bearer "+harness.DeviceKey {
				return nil
			}
		}
		return errors.New("none")
	})
	if n := len(other.Calls()); n != 0 {
		t.Errorf("%d calls of a server without TLS", n)
	}
}
