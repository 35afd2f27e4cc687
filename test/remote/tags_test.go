package remote_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
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
		patch(bad).Want(t, 400, harness.Failed(shape))
	}
	patch(map[string]any{"a b": "1"}).Want(t, 400, harness.Failed("Tag keys cannot contain whitespace"))
	if a := patch(map[string]any{"io.balena.x": "1"}); a.Status != 400 {
		t.Errorf("a reserved tag: %d %s", a.Status, a.Body)
	}
	patch(map[string]any{}).Want(t, 202, accepted)

	// While the cloud is away tags wait, also over a restart of the agent.
	m.Cloud().Down()
	patch(map[string]any{"site": "north"}).Want(t, 202, accepted)
	patch(map[string]any{"rack": "7", "site": "south"}).Want(t, 202, accepted)
	m.Kill()
	m.Cloud().Up(t)
	m.Start()
	want := map[string]string{"site": "south", "rack": "7"}
	harness.Until(t, 2*harness.Soon, "the tags", func() error {
		if got := m.Cloud().Device(t, m.UUID).Tags; fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("the cloud has %v", got)
		}
		return nil
	})
	for _, r := range m.Cloud().Calls(fakecloud.Tags) {
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
	m.Cloud().Break(fakecloud.ReadTags, fakecloud.Status(503))
	var e struct{ Status, Message string }
	if a := m.Get("/v2/device/tags"); a.Status != 500 || json.Unmarshal([]byte(a.Body), &e) != nil || e.Message == "" {
		t.Errorf("tags without an answer of the cloud: %d %s", a.Status, a.Body)
	}
}

// device-api.md 122, 2.27: a device without a cloud has nobody to ask or to tell, and keeps nothing.
func TestTagsWithoutACloud(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	const none = "Attempt to communicate with API, without initialized client"
	s.Get("/v2/device/tags").Want(t, 500, harness.Failed(none))
	before := s.Documents()
	for _, body := range []any{map[string]any{"site": "north"}, map[string]any{}, []any{}} {
		s.Call(harness.Request{Method: "PATCH", Path: "/v2/device/tags", Body: body}).Want(t, 500, harness.Failed(none))
	}
	if now := s.Documents(); len(now) != len(before) {
		t.Errorf("a tag is kept: %q", now)
	}
}

// device-api.md 2.27: what waits for the cloud is bounded in all, and what is there already is not written again.
func TestTagsAreBounded(t *testing.T) {
	m := newManaged(t)
	m.Cloud().Down()
	patch := func(body any) harness.Answer {
		t.Helper()
		return m.Call(harness.Request{Method: "PATCH", Path: "/v2/device/tags", Body: body})
	}
	const accepted = `{"status":"success"}`
	full := harness.Failed("too many tags: at most 300 tags of 64 KiB can wait for the cloud")
	tags := func(from, to, size int) map[string]any {
		set := map[string]any{}
		for i := from; i < to; i++ {
			set[fmt.Sprintf("tag%04d", i)] = strings.Repeat("v", size)
		}
		return set
	}
	file := func() os.FileInfo {
		t.Helper()
		for _, path := range m.Documents() {
			if info, err := os.Stat(m.Path(path)); err == nil && strings.Contains(path, "tags") {
				return info
			}
		}
		t.Fatalf("no file of tags in %q", m.Documents())
		return nil
	}
	patch([]any{}).Want(t, 202, accepted)
	patch(tags(0, 200, 10)).Want(t, 202, accepted)
	written := file()
	patch(tags(0, 301, 1)).Want(t, 400, full)
	patch(tags(0, 2000, 1)).Want(t, 400, full)
	patch(tags(500, 501, 70_000)).Want(t, 400, full)
	patch(tags(500, 501, 1<<20)).Want(t, 400, full)
	patch(tags(200, 301, 10)).Want(t, 400, full) // with those that wait already
	patch(tags(200, 210, 6500)).Want(t, 400, full)
	patch(tags(500, 501, 5)).Want(t, 202, accepted)
	after := file()
	patch(tags(0, 200, 10)).Want(t, 202, accepted)
	patch(tags(500, 501, 5)).Want(t, 202, accepted)
	if now := file(); os.SameFile(written, after) || !os.SameFile(after, now) {
		t.Error("the file is not written just when there is something new")
	}
	patch(tags(200, 299, 10)).Want(t, 202, accepted)

	// What the cloud has makes room for more, also after a restart.
	m.Kill()
	m.Cloud().Up(t)
	m.Start()
	has := func(n int) {
		t.Helper()
		harness.Until(t, 2*harness.Soon, "the tags", func() error {
			if got := m.Cloud().Device(t, m.UUID).Tags; len(got) != n {
				return fmt.Errorf("the cloud has %d tags, not %d", len(got), n)
			}
			return nil
		})
	}
	has(300)
	patch(tags(1000, 1250, 20)).Want(t, 202, accepted)
	has(550)
	if size := file().Size(); size > 100_000 {
		t.Errorf("%d bytes are kept", size)
	}
}
