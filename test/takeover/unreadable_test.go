package takeover_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 39 (Q6), 7.6: the first target after the swap makes nonsense of the app that runs, and of another
// one of which only a volume is there. Both are in the target, so all that they have stays, whatever is
// known of them; a target that can be read goes on with the same containers.
func TestUnreadableAppsAfterTheSwap(t *testing.T) {
	engine, registry, cloud := harness.SharedEngine(t), harness.SharedRegistry(t), &fakecloud.Cloud{}
	image := registry.PushDigest(t, harness.ServerImage("takeover/app:v1"))
	engine.Pull(t, image.Name)
	s := harness.NewSupervisor(t, harness.Setup{Cloud: cloud, Apps: dict{}})
	web := harness.Service{ID: 92, Name: "web", ImageID: 1001, Image: image.Name}.Composed("volumes", []any{"data:/data"})
	app := harness.Shop("c0ffee01", 88, web).WithVolumes("data")
	o := &original{t, s, app}
	o.objects()
	before := map[string]harness.Container{"web": o.container(web, nil, dict{"Binds": []string{"31_data:/data",
		"/tmp/balena-supervisor/services/31/web:/tmp/resin", "/tmp/balena-supervisor/services/31/web:/tmp/balena"}})}
	harness.MustAsk(t, before["web"], http.MethodPut, "/file?path=/data/kept", "precious")
	engine.Must(t, http.MethodPost, "/volumes/create", dict{"Name": "32_data", "Labels": dict{"io.balena.supervised": "true"}}, nil)

	whole := harness.TargetOf(app).V3()
	broken := harness.Target{}.V3()
	broken["apps"] = dict{harness.ShopUUID: dict{"id": "x", "releases": dict{}}, "7aa0c0ffee5aa0c0ffee5aa0c0ffee57": nil,
		"8aa0c0ffee5aa0c0ffee5aa0c0ffee58": dict{"id": 33, "name": "good", "class": "fleet", "releases": dict{}}}
	cloud.Assign(s.UUID, broken)
	events := engine.Record(t)
	s.Start()
	refused := func() error {
		if len(s.LogLines("app rejected, what runs of it stays")) < 2 {
			return errors.New("not refused yet")
		}
		if page := s.Overview(); !strings.Contains(page, "update failed") {
			return errors.New(page)
		}
		return nil
	}
	harness.Until(t, harness.Soon, "the apps to be refused", refused)
	s.Restart()
	s.PollNow()
	harness.Until(t, harness.Soon, "the apps to be refused again", refused)
	cloud.Assign(s.UUID, whole)
	s.Expect(harness.TargetOf(app))
	s.PollNow()
	s.WaitSettled(harness.Soon)
	if err := same(before, s.Containers()); err != nil {
		t.Error(err)
	}
	for _, action := range []string{"create", "start", "kill", "stop", "die", "destroy"} {
		for _, e := range events.Events("container", action) {
			t.Errorf("%s of %s", action, e.Service())
		}
	}
	if got := harness.MustAsk(t, s.Containers()["web"], http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
		t.Errorf("the volume holds %q", got)
	}
	// Now the other app has left the target for good.
	harness.Until(t, harness.Soon, "its volume to go", func() error {
		if _, there := engine.Volumes(t)["32_data"]; there {
			return errors.New("still there")
		}
		return nil
	})
	for _, e := range events.Events("volume", "destroy") {
		if e.Actor.ID != "32_data" {
			t.Errorf("volume %s was removed", e.Actor.ID)
		}
	}
}
