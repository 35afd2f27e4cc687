package api_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 4: 98, 99, 104, 116.
func TestDeviceState(t *testing.T) {
	f := newFleet(t)
	var raw map[string]any
	f.Get("/v1/device").JSON(t, &raw)
	d := f.Device()
	if port, ok := d.APIPort.(float64); !ok || int(port) != f.Port {
		t.Errorf("api_port is %v", d.APIPort)
	}
	if d.OSVersion != "balenaOS 6.4.1" || d.Status != "Idle" || d.DownloadProgress != nil {
		t.Errorf("os_version %q, status %q, progress %v", d.OSVersion, d.Status, d.DownloadProgress)
	}
	if d.UpdatePending || d.UpdateFailed || d.UpdateDownloaded {
		t.Errorf("flags %v %v %v", d.UpdatePending, d.UpdateFailed, d.UpdateDownloaded)
	}
	if d.Commit != "aaaa1" {
		t.Errorf("commit %q", d.Commit)
	}
	for _, key := range []string{"download_progress", "update_pending", "update_failed", "update_downloaded", "status", "commit"} {
		if _, present := raw[key]; !present {
			t.Errorf("%s is absent", key)
		}
	}
	for _, key := range []string{"api_secret", "apps", "logs_channel"} {
		if _, present := raw[key]; present {
			t.Errorf("%s is shown", key)
		}
	}
	var v struct{ Status, Version string }
	f.Get("/v2/version").JSON(t, &v)
	if v.Status != "success" || v.Version != d.SupervisorVersion || !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(v.Version) {
		t.Errorf("version %+v, device says %q", v, d.SupervisorVersion)
	}
	var info struct {
		Info struct{ Arch, DeviceType string }
	}
	f.Get("/v2/local/device-info").JSON(t, &info)
	if info.Info.Arch != "armv7hf" || info.Info.DeviceType != "raspberrypi3" {
		t.Errorf("device info %+v", info)
	}
	var name struct{ DeviceName string }
	if f.Get("/v2/device/name").JSON(t, &name); name.DeviceName != "bench" {
		t.Errorf("device name %q", name.DeviceName)
	}
}

// docs/spec/device-api.md 4: 103, 146; 2.21.
func TestEmptyDevice(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	s.WriteFile("boot/device-type.json", "not json")
	s.Start()
	s.WaitListed()
	if d := s.Device(); d.Status != "Idle" || d.DownloadProgress != nil {
		t.Errorf("status %q, progress %v", d.Status, d.DownloadProgress)
	}
	s.Get("/v2/applications/state").Want(t, 200, "{}")
	var status map[string]any
	s.Get("/v2/state/status").JSON(t, &status)
	want := `{"appState":"applied","containers":[],"images":[],"overallDownloadProgress":null,"status":"success"}`
	if got, _ := json.Marshal(status); string(got) != want {
		t.Errorf("state is %s, want %s", got, want)
	}
	if a := s.Get("/v2/local/device-info"); a.Status != 200 || strings.Count(a.Body, "unknown") != 2 {
		t.Errorf("device info without a file: %d %s", a.Status, a.Body)
	}
}

// docs/spec/device-api.md 4: 107, 110 to 115.
func TestApplicationState(t *testing.T) {
	f := newFleet(t)
	containers := f.Containers()
	type app struct {
		AppID        int    `json:"appId"`
		AppUUID      string `json:"appUuid"`
		Commit       string
		UpdateStatus string
		Services     map[string]struct {
			Status, Image    string
			DownloadProgress *int
			ReleaseID        int `json:"releaseId"`
		}
	}
	var apps map[string]app
	f.Get("/v2/applications/state").JSON(t, &apps)
	shop := apps["shop"]
	if len(apps) != 2 || shop.AppID != 31 || shop.AppUUID != "31" || shop.Commit != "aaaa1" || shop.UpdateStatus != "done" {
		t.Errorf("applications read %+v", apps)
	}
	if web := shop.Services["web"]; web.Status != "Running" || web.Image != "api/app:v1" || web.DownloadProgress != nil || web.ReleaseID != 11 {
		t.Errorf("web reads %+v", web)
	}
	var state any
	f.Get("/v2/applications/32/state").JSON(t, &state)
	got, _ := json.Marshal(state)
	want := `{"commit":"bbbb1","local":{"32":{"services":{"1003":{"download_progress":null,"releaseId":12,"status":"Running"}}}}}`
	if string(got) != want {
		t.Errorf("state of 32 is %s, want %s", got, want)
	}
	f.Get("/v2/applications/12x/state").Want(t, 400, harness.Failed("Invalid application ID: 12x"))
	f.Get("/v2/applications/99/state").Want(t, 409, harness.Failed("Application ID does not exist: 99"))

	first := f.Get("/v2/state/status").Body
	var status struct {
		AppState, Release string
		Overall           *float64 `json:"overallDownloadProgress"`
		Containers        []struct {
			Status, ServiceName, ContainerID, CreatedAt string
			AppID, ImageID, ServiceID                   int
		}
		Images []struct{ Name, Status, ServiceName, DockerImageID string }
	}
	f.Get("/v2/state/status").JSON(t, &status)
	if status.AppState != "applied" || status.Release != "aaaa1" || status.Overall != nil || len(status.Containers) != 2 || len(status.Images) != 2 {
		t.Errorf("status reads %s", first)
	}
	for _, c := range status.Containers {
		if c.ContainerID != containers[c.ServiceName].ID || c.AppID != 31 || c.ImageID != 1000+c.ServiceID ||
			!regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(c.CreatedAt) {
			t.Errorf("container reads %+v", c)
		}
	}
	for range 20 {
		if again := f.Get("/v2/state/status").Body; again != first {
			t.Fatalf("the answer changes on a settled device:\n%s\n%s", first, again)
		}
	}
	var ids struct{ Services map[string]string }
	f.Get("/v2/containerId").JSON(t, &ids)
	for name, c := range containers {
		if ids.Services[name] != c.ID {
			t.Errorf("containerId of %s is %q", name, ids.Services[name])
		}
		for _, query := range []string{"service", "serviceName"} {
			var one struct{ ContainerID string }
			if f.Get("/v2/containerId?"+query+"="+name).JSON(t, &one); one.ContainerID != c.ID {
				t.Errorf("containerId?%s=%s is %q", query, name, one.ContainerID)
			}
		}
	}
	f.Get("/v2/containerId?service=nope").Want(t, 503, harness.Failed("Could not find service with that name"))
}

// docs/spec/device-api.md 4: 100, 101, 108, 119, 154; docs/spec/engine.md 10: 5, 87, 88.
func TestDownloadIsShownWithRisingProgress(t *testing.T) {
	f, registry := newFleet(t), harness.SharedRegistry(t)
	net := registry.Slow(t, 300_000)
	image := net.Of(registry.Push(t, harness.ServerImage("api/slow:v2").WithBlob(800_000)))
	f.solo.Commit, f.solo.Release = "bbbb2", 22
	f.solo.Services[0] = f.solo.Services[0].Using(image.Name, 2003)
	events := f.Engine.Record(t)
	net.Stall()
	f.PostTarget(f.target())
	harness.Until(t, harness.Soon, "the download", func() error {
		if d := f.Device(); d.Status != "Downloading" {
			return fmt.Errorf("status %q", d.Status)
		}
		return nil
	})
	net.Resume()

	var device, app []int
	var updates []string
	harness.Until(t, harness.Soon, "the target", func() error {
		d := f.Device()
		answer := f.Get("/v2/applications/state")
		side := f.Get("/v2/applications/32/state")
		if d.Status == "Downloading" {
			if d.DownloadProgress == nil || !d.UpdatePending || d.UpdateDownloaded {
				t.Errorf("while downloading the device says %+v", d)
			} else {
				device = append(device, int(*d.DownloadProgress))
			}
			if !strings.Contains(side.Body, `"1003"`) || !strings.Contains(side.Body, `"2003"`) {
				t.Errorf("old and new image are not side by side: %s", side.Body)
			}
		}
		var apps map[string]struct {
			UpdateStatus, Commit string
			Services             map[string]struct{ DownloadProgress *int }
		}
		answer.JSON(t, &apps)
		if p := apps["solo"].Services["main"].DownloadProgress; p != nil {
			app = append(app, *p)
		}
		if s := apps["solo"].UpdateStatus; apps["solo"].Commit == "bbbb2" && (len(updates) == 0 || updates[len(updates)-1] != s) {
			updates = append(updates, s)
		}
		return f.Settled()
	})
	for name, seen := range map[string][]int{"device": device, "app": app} {
		if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) < 3 || seen[0] > 20 || seen[len(seen)-1] > 100 {
			t.Errorf("%s progress went %v", name, seen)
		}
	}
	if updates[0] != "downloading" || updates[len(updates)-1] != "done" {
		t.Errorf("updateStatus went %q", updates)
	}
	if n := len(events.Events("image", "pull")); n != 1 {
		t.Errorf("%d pulls", n)
	}
}

// API reads come from memory: none of them calls the engine.
func TestReadsMakeNoEngineCall(t *testing.T) {
	f := newFleet(t)
	paths := []string{"/ping", "/v1/healthy", "/v1/device", "/v1/apps/32", "/v2/version", "/v2/state/status", "/v2/applications/state",
		"/v2/applications/31/state", "/v2/containerId", "/v2/device/name", "/v2/local/target-state", "/v2/local/device-info"}
	before := f.Proxy.Counts()
	for range 10 {
		for _, path := range paths {
			if answer := f.Get(path); answer.Status != 200 {
				t.Errorf("GET %s: %d", path, answer.Status)
			}
		}
	}
	if calls := f.Proxy.Since(before); calls != "" {
		t.Errorf("reads caused engine calls:\n%s", calls)
	}
}

// A device that has nothing to do leaves the engine alone, but for one look at each image that a posted target
// names by a tag (docs/spec/engine.md 8.4).
func TestUnchangedTargetMakesNoOtherCall(t *testing.T) {
	f := newFleet(t)
	before := f.Proxy.Counts()
	for range 5 {
		f.Apply(f.target())
	}
	if calls := f.Proxy.Since(before); calls != "5 x GET /images/{id}/json" {
		t.Errorf("an unchanged target caused engine calls:\n%s", calls)
	}
}

// A client posts a target and then polls for completion (docs/spec/device-api.md 2.31): what it reads
// after the answer must not be the state of the target before.
func TestPostedTargetShowsInTheNextRead(t *testing.T) {
	f := newFleet(t)
	for i := range 20 {
		commit := fmt.Sprintf("next%d", i)
		f.solo.Commit = commit
		f.PostTarget(f.target())
		var apps map[string]struct{ Commit string }
		if f.Get("/v2/applications/state").JSON(t, &apps); apps["solo"].Commit != commit {
			t.Errorf("round %d: the first read shows target %q, want %q", i, apps["solo"].Commit, commit)
		}
		f.WaitSettled(harness.Soon)

		f.shop.Commit = commit
		f.PostTarget(f.target())
		var status struct{ AppState, Release string }
		if f.Get("/v2/state/status").JSON(t, &status); status.AppState == "applied" && status.Release != commit {
			t.Errorf("round %d: the first read says applied, of release %q, want %q", i, status.Release, commit)
		}
		f.WaitSettled(harness.Soon)
	}
}
