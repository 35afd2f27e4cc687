package report_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 61, 62, 64: the way of a release: downloading, downloaded while it has to wait, and done;
// release_uuid goes on only at the end. cloud.md 63: of a service that is handed over, old and new
// container are told apart.
func TestDeploy(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 1000}})
	s.Assign(shop(1, service("web", 1, local(t, "v1"))))
	s.Start()
	told(t, s, cloud, "commit1", "done", "web Running", "commit1")
	s.LockUpdates(31, "web")
	registry := harness.SharedRegistry(t)
	slow := registry.Slow(t, 50_000)
	image := slow.Of(registry.PushDigest(t, harness.ServerImage("report/web:v2").WithBlob(3_000_000)))
	s.Assign(shop(2, service("web", 1, image.Name)))
	told(t, s, cloud, "commit1", "downloading", "web Downloading", "commit2")
	web := dig(cloud.Device(t, s.UUID).Apps[harness.ShopUUID], "releases", "commit2", "services", "web")
	if percent, ok := dig(web, "download_progress").(float64); !ok || percent != float64(int(percent)) || percent > 100 || dig(web, "image") != image.Name {
		t.Errorf("download is reported as %v", web)
	}
	slow.SetRate(100_000_000)
	told(t, s, cloud, "commit1", "downloaded", "web Downloaded", "commit2")
	told(t, s, cloud, "commit1", "done", "web Running", "commit1")
	s.UnlockUpdates(31, "web")
	told(t, s, cloud, "commit2", "done", "web Running", "commit2")
	finished(t, reports(t, s, cloud), "commit1") // its image was there already
	finished(t, reports(t, s, cloud), "commit2")
	reached := ""
	for _, r := range reports(t, s, cloud) {
		known(t, r)
		if commit, _ := dig(r.fields, "apps", harness.ShopUUID, "release_uuid").(string); commit != "" {
			if reached == "commit2" && commit != reached {
				t.Errorf("release_uuid went from %s to %s", reached, commit)
			}
			reached = commit
		}
	}
	s.Assign(shop(3, service("web", 1, local(t, "v3")).Labelled("io.balena.update.strategy", "hand-over").Labelled("io.balena.update.handover-timeout", "3600000")))
	told(t, s, cloud, "commit2", "applying changes", "web Awaiting handover", "commit3")
	told(t, s, cloud, "commit2", "done", "web Handing over", "commit2")
}

// finished fails the test unless the download progress of web ends at 100: the cloud keeps what it was told last.
// That comes once, with the first report that says that the image is there.
func finished(t *testing.T, all []report, commit string) {
	t.Helper()
	var kept any
	var said []string
	for _, r := range all {
		web, _ := dig(r.fields, "apps", harness.ShopUUID, "releases", commit, "services", "web").(map[string]any)
		if progress, has := web["download_progress"]; has {
			kept = progress
			if web["status"] != "Downloading" {
				said = append(said, fmt.Sprint(web["status"], " ", progress))
			}
		} else if web != nil && len(said) == 0 {
			t.Errorf("%s is reported as %v, with progress %v before", commit, web, kept)
		}
	}
	if kept != 100.0 || len(said) != 1 {
		t.Errorf("the cloud has progress %v for %s, said with %q", kept, commit, said)
	}
}

// Q17, issue point 4: a release that was deleted in the cloud keeps nothing else from being reported.
func TestDeletedRelease(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 1000}})
	s.Assign(shop(1, service("web", 1, local(t, "v1"))))
	s.Start()
	told(t, s, cloud, "commit1", "done", "web Running", "commit1")
	s.LockUpdates(31, "web")
	cloud.DeleteRelease(harness.ShopUUID, "commit1")
	s.Assign(shop(2, service("web", 1, local(t, "v2"))))
	if a := s.Post("/v1/regenerate-api-key", nil); a.Status != 200 {
		t.Fatalf("regenerate: %d %s", a.Status, a.Body)
	}
	s.ForgetKey()
	told(t, s, cloud, "", "downloaded", "web Downloaded", "commit2")
	device := cloud.Device(t, s.UUID)
	if device.State["api_secret"] != s.Key() || dig(device.Apps[harness.ShopUUID], "releases", "commit1") != nil {
		t.Errorf("the cloud knows %v and %v", device.State["api_secret"], device.Apps)
	}
	refused := 0
	for _, r := range reports(t, s, cloud) {
		if r.Status == 401 {
			refused++
		}
	}
	s.UnlockUpdates(31, "web")
	told(t, s, cloud, "commit2", "done", "web Running", "commit2")
	if refused < 2 {
		t.Errorf("%d reports were refused", refused)
	}
	if n := len(s.LogLines("the cloud refuses the report of the apps, will leave out former releases")); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
}

// Q17: one field that the cloud does not take keeps no other from being reported.
func TestRefusedField(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 1000}})
	s.Assign(shop(1, service("web", 1, local(t, "v1"))))
	cloud.Break(fakecloud.Report, func(_ *fakecloud.Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
		if all := cloud.Calls(fakecloud.Report); strings.Contains(string(all[len(all)-1].Body), "os_version") {
			w.WriteHeader(400)
			return
		}
		next(w)
	})
	s.Start()
	told(t, s, cloud, "commit1", "done", "web Running", "commit1")
	if state := cloud.Device(t, s.UUID).State; state["api_secret"] != s.Key() || state["os_version"] != nil {
		t.Errorf("the cloud knows %v", state)
	}
}

// cloud.md 101, Q13: tags that are set together are sent together, survive a restart, and one that is
// refused keeps no other back.
func TestTags(t *testing.T) {
	s, cloud := beside(t)
	s.Start()
	first(t, s, cloud)
	set := func(body string) {
		t.Helper()
		if a := s.Call(harness.Request{Method: http.MethodPatch, Path: "/v2/device/tags", Body: body}); a.Status != 202 {
			t.Fatalf("PATCH tags %s: %d %s", body, a.Status, a.Body)
		}
	}
	sent := func(n int) []fakecloud.Request {
		t.Helper()
		return harness.WaitRequests(t, soon, cloud, fakecloud.Tags, n)
	}
	set(`{"site":"north"}`)
	set(`{"rack":"7"}`)
	set(`{"site":"south"}`)
	one := sent(1)[0]
	if tags := one.JSON(t)[s.UUID].(map[string]any); len(tags) != 2 || tags["site"] != "south" || tags["rack"] != "7" ||
		one.Method != "PATCH" || one.Path != "/device/v3/tags" || one.Bearer != "Bearer "+harness.DeviceKey {
		t.Errorf("%s %s %s: %s", one.Method, one.Path, one.Bearer, one.Body)
	}
	if a := s.Get("/v2/device/tags"); a.Status != 200 || !strings.Contains(a.Body, `"name":"site","value":"south"`) {
		t.Errorf("GET tags: %d %s", a.Status, a.Body)
	}
	set(`{"site":"south","floor":"1","bad":"x"}`) // the first of them is known
	cloud.Break(fakecloud.Tags, func(_ *fakecloud.Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
		if all := cloud.Calls(fakecloud.Tags); strings.Contains(string(all[len(all)-1].Body), `"bad"`) {
			w.WriteHeader(400)
			return
		}
		next(w)
	})
	s.Kill()
	s.Start()
	harness.Until(t, soon, "the other tag", func() error {
		if cloud.Device(t, s.UUID).Tags["floor"] != "1" {
			return errors.New("not yet")
		}
		return nil
	})
	for _, r := range cloud.Calls(fakecloud.Tags)[1:] {
		if strings.Contains(string(r.Body), "site") {
			t.Errorf("a tag that is known was sent: %s", r.Body)
		}
	}
	harness.Until(t, soon, "the refused tag to be dropped", func() error {
		if doc := s.ReadFile("documents/tags.json"); strings.Contains(doc, "bad") {
			return errors.New(doc)
		}
		return nil
	})
}
