// Package preload_test proves what a device of a cloud does with the apps that came with its image
// (docs/spec/cloud.md 8.1 to 8.3).
package preload_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

// dict is a JSON object.
type dict = map[string]any

// boxed is a device as it comes out of its box: never registered, its cloud out of reach unless the
// test opens it.
func boxed(t *testing.T, apps any) (*harness.Supervisor, *fakecloud.Cloud) {
	t.Helper()
	s, cloud := harness.NewManaged(t, harness.Setup{Unprovisioned: true, Apps: apps})
	cloud.Down()
	return s, cloud
}

func shop(t *testing.T, images ...string) harness.App {
	t.Helper()
	app := harness.Shop("aaaa1", 1)
	for i, name := range images {
		app.Services = append(app.Services, harness.ServerImage(name).Load(t).Service(fmt.Sprintf("s%d", i), i+1))
	}
	return app
}

func with(entry dict, key string, value any) dict {
	entry[key] = value
	return entry
}

// refused waits until the device said why it did not take the file, and checks that nothing changed.
func refused(t *testing.T, s *harness.Supervisor, why string) {
	t.Helper()
	before := s.ReadFile("data/apps.json")
	harness.Until(t, harness.Soon, "refusal of the preload", func() error {
		for _, line := range s.LogLines("preloaded apps were not taken over") {
			if strings.Contains(fmt.Sprint(line["error"]), why) {
				return nil
			}
		}
		return fmt.Errorf("%v", s.LogLines("preloaded apps were not taken over"))
	})
	if _, err := os.Stat(s.Path("data/apps.json.preloaded")); err == nil || s.ReadFile("data/apps.json") != before || before == "{}" {
		t.Error("the file was put away")
	}
	if all, err := s.Engine.Supervised(); err != nil || len(all) != 0 {
		t.Errorf("containers: %v %v", all, err)
	}
	if text := s.ReadFile("documents/target.json"); strings.Contains(text, "aaaa1") {
		t.Errorf("stored: %s", text)
	}
}

// cloud.md 90: a first boot without network starts the preloaded apps; the file is put away; the second
// start does not load it again. The configuration that comes with it counts (8.1).
func TestFirstBootOffline(t *testing.T) {
	registry := harness.SharedRegistry(t)
	app := shop(t, "preload/web:v1")
	byDigest := registry.PushDigest(t, harness.ServerImage("preload/digest:v1"))
	harness.SharedEngine(t).Pull(t, byDigest.Name)
	app.Services = append(app.Services, harness.Service{ID: 9, Name: "digest", ImageID: 1009, Image: byDigest.Name})
	registry.Stop(t)
	text, err := json.Marshal(harness.Target{Config: map[string]string{"RESIN_SUPERVISOR_DELTA_RETRY_COUNT": "5", "RESIN_SUPERVISOR_LOG_CONTROL": "0"}, Apps: []harness.App{app}}.V3())
	if err != nil {
		t.Fatal(err)
	}
	s, cloud := boxed(t, json.RawMessage(text))
	s.Expect(harness.TargetOf(app))
	s.Start()
	s.WaitSettled(harness.Soon)
	if s.ReadFile("data/apps.json") != "{}" || s.ReadFile("data/apps.json.preloaded") != string(text) {
		t.Errorf("apps.json is %q", s.ReadFile("data/apps.json"))
	}
	config := shown(t, s)
	if config["SUPERVISOR_DELTA_RETRY_COUNT"] != "5" || config["SUPERVISOR_POLL_INTERVAL"] != "2000" {
		t.Errorf("configuration: %v", config)
	}
	s.WaitHostConfig(map[string]any{"RESIN_SUPERVISOR_LOG_CONTROL": "0", "BALENA_SUPERVISOR_LOG_CONTROL": "0", "SUPERVISOR_OVERRIDE_LOCK": "false"})
	before := s.IDs()
	s.WriteFile("data/apps.json", string(text))
	s.Restart()
	s.WaitSettled(harness.Soon)
	if n := len(s.LogLines("preloaded apps taken over")); n != 1 || s.ReadFile("data/apps.json") != string(text) {
		t.Errorf("taken over %d times", n)
	}
	for name, id := range s.IDs() {
		if before[name] != id {
			t.Errorf("%s was recreated", name)
		}
	}
	// The cloud has the last word once it is reached.
	s.Assign(harness.TargetOf(app))
	cloud.Up(t)
	harness.Until(t, harness.Soon, "registration", func() error {
		if len(cloud.Devices()) == 0 {
			return errors.New("not registered")
		}
		return nil
	})
	s.PollNow()
	s.WaitSettled(harness.Soon)
	for name, id := range s.IDs() {
		if before[name] != id {
			t.Errorf("%s was recreated by the cloud's target", name)
		}
	}
}

func shown(t *testing.T, s *harness.Supervisor) map[string]string {
	t.Helper()
	var answer struct {
		State struct {
			Local struct{ Config map[string]string }
		}
	}
	s.Get("/v2/local/target-state").JSON(t, &answer)
	return answer.State.Local.Config
}

// cloud.md 90: one image that is missing refuses the whole preload; once it is there, the next start
// takes it.
func TestMissingImageRefusesAll(t *testing.T) {
	app := shop(t, "preload/web:v1")
	missing := app
	missing.Services = append(slices.Clone(app.Services), harness.Service{ID: 9, Name: "late", ImageID: 1009, Image: "preload/late:v1"})
	s, _ := boxed(t, harness.TargetOf(missing).V3())
	s.Start()
	refused(t, s, "images that are not on the device: preload/late:v1")
	harness.ServerImage("preload/late:v1").Load(t)
	s.Expect(harness.TargetOf(missing))
	s.Restart()
	s.WaitSettled(harness.Soon)
}

// cloud.md 91: the wish to pin the device is carried out once, after registration; one for a release
// that the cloud does not know is dropped. It outlives a power cut.
func TestPin(t *testing.T) {
	app := shop(t, "preload/web:v1")
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known=%v", known), func(t *testing.T) {
			s, cloud := boxed(t, with(harness.TargetOf(app).V3(), "pinDevice", true))
			s.Expect(harness.TargetOf(app))
			s.Start()
			s.WaitSettled(harness.Soon)
			s.Kill()
			if known {
				cloud.Add("ffffffffffffffffffffffffffffffff", "another", harness.Fleet)
				cloud.Assign("ffffffffffffffffffffffffffffffff", harness.TargetOf(app).V3())
			}
			s.Start()
			cloud.Up(t)
			harness.Until(t, harness.Soon, "the wish to be settled", func() error {
				if strings.Contains(s.ReadFile("documents/target.json"), `"pin"`) {
					return errors.New("still stored")
				}
				return nil
			})
			patches := cloud.Calls(fakecloud.PatchDevice)
			pinned := cloud.Device(t, s.UUID).Pinned
			if known && (len(patches) != 1 || pinned != app.Release) || !known && (len(patches) != 0 || pinned != 0) {
				t.Errorf("%d PATCH, pinned to %d", len(patches), pinned)
			}
		})
	}
}

// cloud.md 92: the list of single-container times yields the service main with all it could do then.
func TestLegacyList(t *testing.T) {
	app := shop(t, "preload/web:v1")
	s, _ := boxed(t, []dict{{"appId": "31", "name": "old", "commit": "aaaa1", "imageId": app.Services[0].Image,
		"env": dict{"A": "1", "RESIN_X": "2"}, "config": dict{"RESIN_APP_RESTART_POLICY": "on-failure", "RESIN_SUPERVISOR_DELTA_RETRY_COUNT": "6"}}})
	s.Start()
	harness.Until(t, harness.Soon, "the service main", func() error {
		all, err := s.Engine.Supervised()
		if err == nil && len(all) != 1 { // a machine for tests may not let it run: it is privileged
			err = fmt.Errorf("%d containers", len(all))
		}
		return err
	})
	for _, line := range s.LogLines("step did not succeed") {
		if line["step"] == "create network" {
			t.Errorf("%v", line)
		}
	}
	main := s.Containers()["main"]
	if main.Name != "main_1_1_aaaa1" || !main.HostConfig.Privileged || main.HostConfig.NetworkMode != "host" ||
		main.HostConfig.RestartPolicy.Name != "on-failure" || !slices.Contains(main.HostConfig.Binds, "31_resin-data:/data") {
		t.Errorf("%s: %+v", main.Name, main.HostConfig)
	}
	if main.Env("A") != "1" || main.HasEnv("RESIN_X") || main.Env("BALENA_SUPERVISOR_API_KEY") == "" {
		t.Errorf("environment: %q", main.Config.Env)
	}
	// Labels are shown under their present names.
	for _, label := range []string{"features.kernel-modules", "features.firmware", "features.dbus", "features.supervisor-api", "features.balena-api", "legacy-container"} {
		if main.Config.Labels["io.balena."+label] != "1" {
			t.Errorf("label %s is missing: %v", label, main.Config.Labels)
		}
	}
	if got := shown(t, s)["SUPERVISOR_DELTA_RETRY_COUNT"]; got != "6" {
		t.Errorf("configuration: %s", got)
	}
	if s.ReadFile("data/apps.json") != "{}" {
		t.Error("the file was not put away")
	}
}

// cloud.md 93: an older file needs the cloud: without it nothing changes and the words are clear; with
// it the app has the uuid it has there, and its container stays when the cloud's target comes.
func TestOlderFile(t *testing.T) {
	app := shop(t, "preload/web:v1")
	file := harness.TargetOf(app).V2()["local"]
	s, cloud := boxed(t, file)
	s.Start()
	refused(t, s, "Cannot migrate from v2 apps.json without Internet connectivity. Please use balenaCLI v13.5.1+ for offline preload support.")
	s.Stop()
	cloud.Add("ffffffffffffffffffffffffffffffff", "another", harness.Fleet)
	cloud.Assign("ffffffffffffffffffffffffffffffff", harness.TargetOf(app).V3())
	cloud.Break(fakecloud.Register, fakecloud.Status(http.StatusInternalServerError))
	cloud.Up(t)
	s.Expect(harness.TargetOf(app))
	s.Start()
	s.WaitSettled(harness.Soon)
	if got := s.Containers()["s0"].Config.Labels["io.balena.app-uuid"]; got != harness.ShopUUID {
		t.Errorf("uuid of the app is %s", got)
	}
}

// docs/spec/cloud.md 8.1: a directory of that name is no preload, nor is an empty file; a file that breaks
// the rules is logged and stays.
func TestNoPreload(t *testing.T) {
	s, _ := boxed(t, nil)
	if err := os.MkdirAll(s.Path("data/apps.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.WaitListed()
	s.Stop()
	if err := os.Remove(s.Path("data/apps.json")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{}`, `{"apps":{}}`} {
		s.WriteFile("data/apps.json", text)
		s.Start()
		s.WaitListed()
		s.Stop()
		if got := s.ReadFile("data/apps.json"); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	if lines := s.LogLines("preloaded apps were not taken over"); len(lines) > 0 {
		t.Errorf("%v", lines)
	}
	s.WriteFile("data/apps.json", `{"apps":{"`+harness.ShopUUID+`":{"id":"x"}}}`)
	s.Start()
	refused(t, s, "Invalid target state.")
}
