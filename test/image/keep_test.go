package image_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// engine.md 2: every pull names a tag or digest, and carries the device's name and key only to a
// registry that the image names, and only for a device of a cloud.
func TestWhoIsToldTheDevicesKey(t *testing.T) {
	engine, registry := harness.SharedEngine(t), harness.SharedRegistry(t)
	byTag := registry.Push(t, harness.ServerImage("auth/tag:v1"))
	byDigest := registry.PushDigest(t, harness.ServerImage("auth/digest:v1"))
	bare := harness.Image{Name: "nowhere/at-all:v1"}
	target := shop(1, byTag.Service("tag", 1), byDigest.Service("digest", 2), bare.Service("bare", 3))
	for _, managed := range []bool{true, false} {
		t.Run(fmt.Sprintf("managed %v", managed), func(t *testing.T) {
			for _, i := range []harness.Image{byTag, byDigest} {
				engine.RemoveImage(t, i.Name)
				engine.RemoveImage(t, strings.Split(i.Name, "@")[0])
			}
			setup := harness.Setup{WithProxy: true}
			if managed {
				setup.Cloud = &fakecloud.Cloud{}
			}
			s := harness.NewSupervisor(t, setup)
			begin(t, s, target)
			harness.Until(t, harness.Soon, "three pulls", func() error {
				if n := len(s.Proxy.Pulls()); n < 3 {
					return fmt.Errorf("%d pulls", n)
				}
				return nil
			})
			for _, p := range s.Proxy.Pulls() {
				from, tag := p.Query.Get("fromImage"), p.Query.Get("tag")
				if tag == "" || strings.Contains(from, "@") {
					t.Errorf("pull of %q with tag %q", from, tag)
				}
				if want := managed && from != "nowhere/at-all"; p.HasAuth != want {
					t.Errorf("pull of %s carries credentials: %v, want %v", from, p.HasAuth, want)
				}
				if p.HasAuth && (p.Auth.Username != "d_"+s.UUID || p.Auth.Password != harness.DeviceKey || p.Auth.ServerAddress != registry.Addr) {
					t.Errorf("credentials for %s: %+v", from, p.Auth)
				}
			}
		})
	}
}

// engine.md 80, 6: an image that is on the device under another name is not downloaded but named and
// recorded.
func TestImageIsKnownByItsDigest(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	image := harness.ServerImage("keep/first:v1")
	one := registry.PushDigest(t, image)
	s.Apply(shop(1, one.Service("web", 1)))
	two := registry.PushDigest(t, image.SameAs("keep/second:v1"))
	before, pulls := s.IDs()["web"], len(s.Proxy.Pulls())
	s.Apply(shop(2, two.Service("web", 1)))
	if n := len(s.Proxy.Pulls()) - pulls; n != 0 {
		t.Errorf("%d downloads of an image that is there", n)
	}
	repo, _, _ := strings.Cut(two.Name, "@")
	if s.Engine.ImageID(t, repo+":latest") == "" || !recorded(s, two) {
		t.Error("the image is not tagged or not recorded under its new name")
	}
	if s.IDs()["web"] != before {
		t.Error("the container was recreated")
	}
}

// engine.md 81, 65: with kill-then-download the old image, from which a delta could start, stays until
// the new one is there, though no container stands on it.
func TestSourceStaysUntilTheNewImageIsThere(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	gate := registry.Gate(t)
	v1 := registry.Push(t, harness.ServerImage("keep/source:v1").WithBlob(1000))
	v2 := gate.Of(registry.Push(t, harness.ServerImage("keep/source:v2").WithBlob(50_000)))
	first := v1.Service("web", 1).Labelled("io.balena.update.strategy", "kill-then-download")
	s.Apply(shop(1, first))
	gate.Close()
	s.PostTarget(shop(2, first.Using(v2.Name, 1001)))
	harness.Until(t, harness.Soon, "the download", func() error {
		if _, waiting := gate.Layers(); waiting == 0 || len(s.Containers()) != 0 {
			return fmt.Errorf("%d layers held back, %d containers", waiting, len(s.Containers()))
		}
		return nil
	})
	present(t, s.Engine, v1.Name)
	gate.Open()
	s.WaitSettled(harness.Soon)
	awaitGone(t, s.Engine, v1.Name)
}

// engine.md 82: dropping the record of one service keeps the image that another one's record names.
func TestImageOfTwoServicesStaysForTheSecond(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	image := registry.PushDigest(t, harness.ServerImage("keep/shared:v1"))
	stopped := image.Service("two", 2)
	s.Apply(shop(1, image.Service("one", 1), stopped))
	s.Apply(shop(2, stopped))
	present(t, s.Engine, image.Name, strings.Split(image.Name, "@")[0]+":latest")
	s.Apply(shop(3))
	awaitGone(t, s.Engine, image.Name)
}

// engine.md 84: the waits of one image are not those of another.
func TestBackOffIsPerImage(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	net := registry.Slow(t, 0)
	missing := harness.Image{Name: registry.Addr + "/keep/missing:v1"}
	late := net.Of(registry.Push(t, harness.ServerImage("keep/late:v1").WithBlob(1000)))
	pulls := func(image harness.Image) int {
		n := 0
		for _, p := range s.Proxy.Pulls() {
			if p.Query.Get("fromImage")+":"+p.Query.Get("tag") == image.Name {
				n++
			}
		}
		return n
	}
	s.PostTarget(shop(1, missing.Service("missing", 1)))
	harness.Until(t, harness.Soon, "three attempts", func() error {
		if n := pulls(missing); n < 3 {
			return fmt.Errorf("%d attempts", n)
		}
		return nil
	})
	if lines := s.LogLines("step did not succeed"); len(lines) < 2 {
		t.Errorf("%d failures were told of", len(lines))
	}
	net.Refuse(true)
	s.PostTarget(shop(2, missing.Service("missing", 1), late.Service("late", 2)))
	harness.Until(t, harness.Soon, "two attempts for each", func() error {
		if a, b := pulls(missing), pulls(late); a < 5 || b < 2 {
			return fmt.Errorf("%d and %d attempts", a, b)
		}
		return nil
	})
	net.Refuse(false)
	harness.Until(t, harness.Soon, "the image that is there", func() error {
		if s.Engine.ImageID(t, late.Name) == "" {
			return errors.New("not downloaded")
		}
		return nil
	})
	if s.Engine.ImageID(t, missing.Name) != "" {
		t.Error("an image that no registry has is there")
	}
}

// engine.md 57: however many images are wanted, three downloads run at once.
func TestThreeDownloadsAtOnce(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	s.Apply(shop(1, registry.Push(t, harness.ServerImage("keep/base:v1")).Service("base", 9)))
	services := []harness.Service{}
	for n := range 5 {
		i := registry.Push(t, harness.ServerImage(fmt.Sprintf("keep/many%d:v1", n)).WithBlob(1000))
		services = append(services, i.Service(fmt.Sprintf("s%d", n), n+1))
	}
	s.Proxy.Spoil(pull, harness.Hang, 0, -1)
	asked := len(s.Proxy.Pulls())
	s.PostTarget(shop(2, services...))
	waits := func() int {
		var status struct{ Message, AppState string }
		s.Get("/v2/state/status").JSON(t, &status)
		return len(s.Proxy.Pulls()) - asked
	}
	harness.Until(t, harness.Soon, "downloads to begin", func() error {
		if n := waits(); n < 3 {
			return fmt.Errorf("%d downloads", n)
		}
		return nil
	})
	harness.Throughout(t, 500*time.Millisecond, "downloads", func() error {
		if n := waits(); n != 3 {
			return fmt.Errorf("%d downloads run", n)
		}
		return nil
	})
	s.Proxy.Heal()
	s.WaitSettled(harness.Soon)
	if n := len(s.Proxy.Pulls()) - asked; n != 5 {
		t.Errorf("%d downloads in all", n)
	}
}

// engine.md 86: records are put right after a start: an engine that lost an image is asked for it
// again, an image that came by other means gets its record.
func TestRecordsAfterARestart(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	registry := harness.SharedRegistry(t)
	kept := registry.PushDigest(t, harness.ServerImage("keep/kept:v1"))
	lost := registry.PushDigest(t, harness.ServerImage("keep/lost:v1"))
	target := shop(1, kept.Service("kept", 1), lost.Service("lost", 2))
	s.Apply(target)
	before := s.IDs()["kept"]
	s.Stop()
	lostContainer := s.Containers()["lost"]
	s.Engine.Must(t, http.MethodDelete, "/containers/"+lostContainer.ID+"?force=1", nil, nil)
	s.Engine.Must(t, http.MethodDelete, "/images/"+lostContainer.Image+"?force=1", nil, nil)
	forget(t, s, "kept")
	pulls := len(s.Proxy.Pulls())
	s.Start()
	s.WaitSettled(harness.Soon)
	if n := len(s.Proxy.Pulls()) - pulls; n != 1 {
		t.Errorf("%d downloads, want that of the lost image", n)
	}
	if !recorded(s, kept) || s.IDs()["kept"] != before {
		t.Error("the image that was there is not recorded, or its container was recreated")
	}
	s.Apply(shop(2))
	awaitGone(t, s.Engine, kept.Name, lost.Name)
}

// forget takes the records of a service out of the documents of a stopped supervisor.
func forget(t *testing.T, s *harness.Supervisor, service string) {
	t.Helper()
	paths, err := filepath.Glob(s.Path("documents", "images*"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("records: %v, %q", err, paths)
	}
	var doc map[string]any
	data, err := os.ReadFile(paths[0])
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := doc["data"].([]any)
	left := slices.DeleteFunc(slices.Clone(rows), func(row any) bool { return row.(map[string]any)["serviceName"] == service })
	if len(left) != len(rows)-1 {
		t.Fatalf("records: %s", data)
	}
	doc["data"] = left
	s.WriteJSON("documents/"+filepath.Base(paths[0]), doc)
}
