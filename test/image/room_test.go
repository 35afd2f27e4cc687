package image_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

const mega = 1 << 20

// full counts how often the supervisor said that a download found no room.
func full(s *harness.Supervisor, image harness.Image) int {
	n := 0
	for _, line := range s.LogLines("step did not succeed") {
		if text := fmt.Sprint(line["error"]); line["image"] == image.Name && strings.HasPrefix(text, "pull "+image.Name) &&
			strings.Contains(text, "no space left on device") {
			n++
		}
	}
	return n
}

// awaitFull waits until the supervisor says that a download found no room.
func awaitFull(t *testing.T, s *harness.Supervisor, image harness.Image) {
	t.Helper()
	harness.Until(t, harness.Soon, "the error", func() error {
		if full(s, image) == 0 {
			return fmt.Errorf("the log does not tell of %s", image.Name)
		}
		return nil
	})
}

// engine.md 3, 8.3, 64, 84: a download that finds no room is an error that says so, leaves the old
// release running and no record, and succeeds by itself once there is room.
func TestFullStorage(t *testing.T) {
	s, registry := harness.SmallDevice(t, 160*mega)
	v1 := registry.Push(t, harness.ServerImage("room/web:v1"))
	v2 := registry.Push(t, harness.ServerImage("room/web:v2").WithBlob(20*mega))
	s.Apply(shop(1, v1.Service("web", 1)))
	before := s.Containers()["web"]
	s.Engine.Fill(t, 10*mega)
	s.PostTarget(shop(2, v2.Service("web", 1)))
	awaitFull(t, s, v2)
	harness.Until(t, harness.Soon, "the failure in the API", s.UpdateFailed)
	if status, got, err := harness.Ask(before, http.MethodGet, "/version", ""); err != nil || status != 200 || got != "v1" {
		t.Errorf("the old release answers %d %q %v", status, got, err)
	}
	if recorded(s, v2) || s.Engine.ImageID(t, v2.Name) != "" {
		t.Error("an image that was not downloaded is recorded or on the engine")
	}
	if text := s.Overview(); !strings.Contains(text, "no space left on device") {
		t.Errorf("status does not say what is wrong: %s", text)
	}
	s.Engine.Fill(t, -1)
	s.WaitSettled(harness.Soon)
	if got := harness.VersionOf(t, s.Containers()["web"]); got != "v2" {
		t.Errorf("web serves %q", got)
	}
}

// engine.md 8.3: before the next attempt the images of a release that was given up are removed, though
// the app is not settled; the running release keeps its own.
func TestRoomIsMadeOfImagesInBetween(t *testing.T) {
	s, registry := harness.SmallDevice(t, 160*mega)
	v1 := registry.Push(t, harness.ServerImage("room/app:v1"))
	between := registry.Push(t, harness.ServerImage("room/app:between").WithBlob(20*mega))
	v3 := registry.Push(t, harness.ServerImage("room/app:v3").WithBlob(20*mega))
	missing := harness.Image{Name: registry.Addr + "/room/missing:v1"}
	s.Apply(shop(1, v1.Service("web", 1)))
	s.PostTarget(shop(2, between.Service("web", 1), missing.Service("db", 2)))
	harness.Until(t, harness.Soon, "the release in between", func() error {
		if s.Engine.ImageID(t, between.Name) == "" || !recorded(s, between) {
			return fmt.Errorf("%s is not there", between.Name)
		}
		return s.UpdateFailed()
	})
	s.Engine.Fill(t, 30*mega) // v3 takes 40: as a file, and unpacked
	s.PostTarget(shop(3, v3.Service("web", 1)))
	awaitFull(t, s, v3)
	s.WaitSettled(harness.Soon)
	if n := full(s, v3); n != 1 {
		t.Errorf("%d downloads found no room, want 1: room is made before the next", n)
	}
	if got := harness.VersionOf(t, s.Containers()["web"]); got != "v3" {
		t.Errorf("web serves %q", got)
	}
	awaitGone(t, s.Engine, between.Name, v1.Name)
}
