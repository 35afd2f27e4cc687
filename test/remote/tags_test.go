package remote_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// device-api.md 120, 121, 122.
func TestTagsReachTheCloud(t *testing.T) {
	m := newManaged(t)
	patch := func(body any) harness.Answer {
		t.Helper()
		return m.Call(harness.Request{Method: "PATCH", Path: "/v2/device/tags", Body: body})
	}
	const accepted = `{"status":"success"}`
	const shape = "Invalid tags body, must be an object like `{[tagKey: string]: string}`"
	for _, bad := range []any{map[string]any{"a": 1}, map[string]any{"b": "1", "a": nil}, []string{"x"}} {
		patch(bad).Want(t, 400, failed(shape))
	}
	patch(map[string]any{"a b": "1"}).Want(t, 400, failed("Tag keys cannot contain whitespace"))
	if a := patch(map[string]any{"io.balena.x": "1"}); a.Status != 400 {
		t.Errorf("a reserved tag: %d %s", a.Status, a.Body)
	}
	patch(map[string]any{}).Want(t, 202, accepted)

	// While the cloud is away tags wait, also over a restart of the agent.
	m.cloud.Down()
	patch(map[string]any{"site": "north"}).Want(t, 202, accepted)
	patch(map[string]any{"rack": "7", "site": "south"}).Want(t, 202, accepted)
	m.Kill()
	m.cloud.Up(t)
	m.Start()
	want := map[string]string{"site": "south", "rack": "7"}
	harness.Until(t, 2*soon, "the tags", func() error {
		if got := m.cloud.Device(t, m.UUID).Tags; fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("the cloud has %v", got)
		}
		return nil
	})
	for _, r := range m.cloud.Calls(fakecloud.Tags) {
		var body map[string]map[string]string
		if err := json.Unmarshal(r.Body, &body); err != nil || body[m.UUID]["site"] == "north" || body[m.UUID]["a"] != "" {
			t.Errorf("sent %s %v", r.Body, err)
		}
	}
	var list struct {
		Status string
		Tags   []struct {
			ID          int
			Name, Value string
		}
	}
	m.Get("/v2/device/tags").JSON(t, &list)
	got := map[string]string{}
	for _, tag := range list.Tags {
		got[tag.Name] = tag.Value
		if tag.ID == 0 {
			t.Errorf("%s has no id", tag.Name)
		}
	}
	if list.Status != "success" || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("tags read %+v", list)
	}
	m.cloud.Break(fakecloud.ReadTags, fakecloud.Status(503))
	var e struct{ Status, Message string }
	if a := m.Get("/v2/device/tags"); a.Status != 500 || json.Unmarshal([]byte(a.Body), &e) != nil || e.Message == "" {
		t.Errorf("tags without an answer of the cloud: %d %s", a.Status, a.Body)
	}
}

// device-api.md 122, 2.27: a device without a cloud has nobody to ask, and keeps what is set.
func TestTagsWithoutACloud(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{Engine: harness.SharedEngine(t)})
	s.Start()
	s.Get("/v2/device/tags").Want(t, 500, failed("Attempt to communicate with API, without initialized client"))
	before := len(s.Documents())
	s.Call(harness.Request{Method: "PATCH", Path: "/v2/device/tags", Body: map[string]any{"site": "north"}}).Want(t, 202, `{"status":"success"}`)
	if now := s.Documents(); len(now) != before+1 {
		t.Errorf("the tag is kept nowhere: %q", now)
	}
}
