package update_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// device-api.md 2.31: a target that cannot be meant is refused with its reason, which names app, service and
// key, and changes nothing, whatever good apps stand beside it.
func TestTargetThatCannotBeMeant(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("update/app:v1").Load(t)
	good := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(good))
	before, stored := s.IDs(), s.Get("/v2/local/target-state").Body
	refused := func(what string, body string, words ...string) {
		t.Helper()
		a := s.Call(harness.Request{Method: http.MethodPost, Path: "/v2/local/target-state", Body: body})
		var said struct{ Status, Message string }
		if err := json.Unmarshal([]byte(a.Body), &said); err != nil || a.Status != 400 || said.Status != "failed" || !strings.HasPrefix(said.Message, "Invalid target state.\n") {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
		for _, word := range words {
			if !strings.Contains(said.Message, word) {
				t.Errorf("%s: no %s in %s", what, word, said.Message)
			}
		}
	}
	composed := func(what, key string, value any, words ...string) {
		t.Helper()
		text, err := json.Marshal(harness.TargetOf(harness.Shop("bbbb2", 2, image.Service("web", 1).Composed(key, value)), other("cccc3", 3, image.Service("ok", 2))).V2())
		if err != nil {
			t.Fatal(err)
		}
		refused(what, string(text), append(words, "app shop service web: ")...)
	}
	composed("a volume of a variable", "volumes", []any{"${CONFIG_DIR}/a:/config:rw"}, `volumes: "${CONFIG_DIR}/a:/config:rw" is not name:/path`)
	composed("a port that is none", "ports", []any{"nonsense"}, "ports: ", "nonsense")
	composed("a network that nobody defines", "networks", []any{"lost"}, "network lost is not defined")
	refused("services without commit", `{"local":{"apps":{"31":{"name":"shop","services":{"1":{"image":5}}}}}}`, "local.apps.31.commit")
	refused("a number for an image", `{"local":{"apps":{"31":{"name":"shop","commit":"bbbb2","releaseId":2,"services":{"1":{"serviceName":"web","imageId":1,"image":5,"environment":{},"labels":{}}}}}}}`,
		"local.apps.31.services.1.image")
	twin := other("bbbb2", 2, image.Service("web", 1))
	text, err := json.Marshal(harness.TargetOf(harness.Shop("bbbb2", 2, image.Service("web", 1)), twin).V2())
	if err != nil {
		t.Fatal(err)
	}
	refused("two apps of one template", string(text), "apps shop (uuid ", " and "+twin.Name+" (uuid ", "both have the container web_1001_2_bbbb2",
		"give one of them another id, and its release another id or commit")
	if after := s.Get("/v2/local/target-state").Body; after != stored {
		t.Errorf("the stored target was %s, is %s", stored, after)
	}
	if err := s.Settled(); err != nil {
		t.Error(err)
	}
	sameIDs(t, s, before)
}

// A contract that the device does not meet is no mistake of the target: it is taken, and the app shown as
// rejected until a release comes that runs here.
func TestRejectedAppIsAProblem(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("update/app:v1").Load(t)
	good := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(good))
	before := s.IDs()
	needy := image.Service("web", 1).Composed("contract", map[string]any{"type": "sw.container", "slug": "needy",
		"requires": []any{map[string]any{"type": "sw.supervisor", "version": ">=9999.0.0"}}})
	s.PostTarget(harness.TargetOf(harness.Shop("bbbb2", 2, needy)))
	harness.Until(t, harness.Soon, "the rejection", func() error {
		page := s.Overview()
		for _, text := range []string{"update failed", "Problems app shop: rejected", "error: Services with unmet requirements: web"} {
			if !strings.Contains(page, text) || !s.Device().UpdateFailed || s.Device().UpdatePending {
				return errors.New(page)
			}
		}
		return nil
	})
	if n := len(s.LogLines("target reached, except for what of it was refused")); n != 1 {
		t.Errorf("%d lines say that the target is reached in part", n)
	}
	s.Apply(harness.TargetOf(good.Released("cccc3", 3)))
	harness.Until(t, harness.Soon, "no problem", func() error {
		if page := s.Overview(); !strings.Contains(page, "up to date") || strings.Contains(page, "Problems") {
			return errors.New(page)
		}
		return nil
	})
	sameIDs(t, s, before)
}
