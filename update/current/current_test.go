package current

import (
	"errors"
	"testing"
	"time"

	"resin-supervisor/update/engine/doc"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// engine.md 8.4 and 80: how a reference finds its image.
func TestFindImage(t *testing.T) {
	f := func(ref, want string, images []*Image, records ...Record) {
		t.Helper()
		s := Empty().WithListing(Listing{Images: images})
		byKey := make(map[string]Record)
		for _, r := range records {
			byKey[r.Key()] = r
		}
		got := ""
		if image := s.WithRecords(byKey).FindImage(ref); image != nil {
			got = image.ID
		}
		if got != want {
			t.Errorf("FindImage(%s) = %q, want %q", ref, got, want)
		}
	}
	pulled := &Image{ID: "1", Digests: []string{"reg.example/a@" + digestA}, Tags: []string{"reg.example/a:latest"}}
	f("reg.example/a@"+digestA, "1", []*Image{pulled})
	f("other.example/b@"+digestA, "1", []*Image{pulled})
	f("reg.example/a@"+digestB, "", []*Image{pulled})
	f("reg.example/a:latest", "1", []*Image{pulled})
	f("reg.example/a:2", "", []*Image{pulled})
	f("a:latest", "", []*Image{pulled})

	loaded := &Image{ID: "2", Tags: []string{"reg.example/a:latest"}}
	f("reg.example/a@"+digestA, "2", []*Image{loaded})

	delta := &Image{ID: "3", Digests: []string{"reg.example/delta@" + digestB}}
	f("reg.example/a@"+digestA, "3", []*Image{delta}, Record{Name: "reg.example/a@" + digestA, EngineID: "3"})
	f("reg.example/a@"+digestA, "", []*Image{delta}, Record{Name: "reg.example/a@" + digestA, EngineID: "gone"})
	f("reg.example/a@"+digestA, "1", []*Image{pulled, delta}, Record{Name: "reg.example/a@" + digestA, EngineID: "3"})

	// A tag means the image that it names now, in every spelling. A record counts only while the tag names none.
	built := &Image{ID: "4", Tags: []string{"local_image_t:latest", "busybox:1"}}
	nameless := &Image{ID: "0"}
	f("local_image_t:latest", "4", []*Image{nameless, built}, Record{Name: "local_image_t:latest", EngineID: "0"})
	f("local_image_t:latest", "0", []*Image{nameless}, Record{Name: "local_image_t:latest", EngineID: "0"})
	f("local_image_t:latest", "", []*Image{nameless}, Record{Name: "local_image_t:latest", EngineID: "0", Former: true})
	for _, name := range []string{"busybox:1", "library/busybox:1", "docker.io/busybox:1", "docker.io/library/busybox:1", "index.docker.io/library/busybox:1"} {
		f(name, "4", []*Image{nameless, built}, Record{Name: name, EngineID: "0"})
	}
	f("reg.example/busybox:1", "", []*Image{built})
	f("reg.example/a@"+digestA, "3", []*Image{delta, loaded}, Record{Name: "reg.example/a@" + digestA, EngineID: "3"})
}

func inspected(name string, labels map[string]string) *doc.Container {
	return &doc.Container{Id: "c1", Name: name, Config: doc.Config{Labels: labels}, State: doc.ContainerState{Status: "running", Running: true}}
}

// engine.md 4.1: labels with either prefix make a container ours.
func TestReadContainer(t *testing.T) {
	ours := map[string]string{"io.resin.supervised": "", "io.resin.app-id": "7", "io.resin.service-id": "8", "io.resin.service-name": "web"}
	c, err := ReadContainer(inspected("/web_40_50_c1", ours))
	if err != nil {
		t.Fatal(err)
	}
	if c.AppID != 7 || c.ServiceID != 8 || c.ServiceName != "web" || c.ImageID != 40 || c.ReleaseID != 50 || c.Commit != "c1" || !c.Running {
		t.Errorf("container read as %+v", c)
	}
	foreign := map[string]string{"io.balena.app-id": "7"}
	if _, err := ReadContainer(inspected("/web_40_50_c1", foreign)); !errors.Is(err, ErrForeign) {
		t.Errorf("a container without the label: %v, want ErrForeign", err)
	}
	f := func(name, key, value string) {
		t.Helper()
		labels := map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "7", "io.balena.service-id": "8"}
		labels[key] = value
		if _, err := ReadContainer(inspected(name, labels)); err == nil || errors.Is(err, ErrForeign) {
			t.Errorf("%s with %s=%q: %v, want an error that names the fault", name, key, value, err)
		}
	}
	f("/web", "x", "")
	f("/web_1_2_c", "io.balena.app-id", "x")
	f("/web_1_2_c", "io.balena.service-id", "")
}

// D15: a foreign volume whose name only contains an app's name is not the app's.
func TestReadVolume(t *testing.T) {
	if v, err := ReadVolume(&doc.Volume{Name: "12_data"}); err != nil || v.AppID != 12 || v.Supervised {
		t.Errorf("12_data: %+v, %v", v, err)
	}
	for _, name := range []string{"x12_data", "data", "extra-firmware", "12data"} {
		if v, err := ReadVolume(&doc.Volume{Name: name}); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %+v, %v, want ErrForeign", name, v, err)
		}
	}
}

func TestStatesAreImmutable(t *testing.T) {
	one := Empty().WithListing(Listing{Containers: []*Container{{ID: "a"}}})
	two := one.WithContainer(&Container{ID: "b"}).WithoutContainer("a").WithPull("x", Pull{Percent: 3}).WithDeleting("y", true)
	if len(one.Containers) != 1 || one.Containers["a"] == nil || len(one.Pulls) != 0 || len(one.Deleting) != 0 {
		t.Errorf("an older state changed: %+v", one)
	}
	if len(two.Containers) != 1 || two.Containers["b"] == nil || two.Pulls["x"].Percent != 3 || !two.Deleting["y"] {
		t.Errorf("newer state: %+v", two)
	}
	if two.Revision <= one.Revision {
		t.Errorf("revision went from %d to %d", one.Revision, two.Revision)
	}
}

// An observation that changes nothing gives the same state, because each new state wakes the planner.
func TestSameObservationIsNoChange(t *testing.T) {
	s := Empty().WithListing(Listing{
		Containers: []*Container{{ID: "a", Status: "running"}}, Images: []*Image{{ID: "i", Tags: []string{"t"}}},
		Networks: []*Network{{ID: "n"}}, Volumes: []*Volume{{Name: "1_v"}},
	})
	again := s.WithContainer(&Container{ID: "a", Status: "running"}).WithImage(&Image{ID: "i", Tags: []string{"t"}}).
		WithNetwork(&Network{ID: "n"}).WithVolume(&Volume{Name: "1_v"}).WithoutContainer("x").WithoutImage("x").
		WithoutNetwork("x").WithoutVolume("x").WithoutPull("x").WithoutDoing("x")
	if again != s {
		t.Error("an equal observation made a new state")
	}
	if s.WithContainer(&Container{ID: "a", Status: "exited"}) == s {
		t.Error("a different observation made no new state")
	}
}

// A tag that moves to another image is removed from the one that had it.
func TestTagsMove(t *testing.T) {
	s := Empty().WithListing(Listing{Images: []*Image{{ID: "old", Tags: []string{"a:1", "a:2"}}, {ID: "other", Tags: []string{"b:1"}}}})
	n := s.WithImage(&Image{ID: "new", Tags: []string{"a:1"}})
	if got := n.Images["old"].Tags; len(got) != 1 || got[0] != "a:2" {
		t.Errorf("the old image has tags %q", got)
	}
	if n.FindImage("a:1").ID != "new" || n.Images["other"].Tags[0] != "b:1" {
		t.Errorf("images after the move: %+v", n.Images)
	}
	if len(s.Images["old"].Tags) != 2 {
		t.Error("an older state changed")
	}
}

// The content of an image id never changes, so its document stays across listings.
func TestImageDocumentsSurviveAListing(t *testing.T) {
	read := ReadImageDoc(&doc.Image{Id: "i", RepoTags: []string{"a:1", "<none>:<none>"}})
	s := Empty().WithImage(read).WithListing(Listing{Images: []*Image{{ID: "i", Tags: []string{"a:1"}}}})
	if s.Images["i"].Doc == nil || len(read.Tags) != 1 {
		t.Errorf("image after a listing: %+v", s.Images["i"])
	}
}

// A start of a container that ran before is a restart of its service. Its first start is none.
func TestWithStart(t *testing.T) {
	slot := Slot("u1", "web")
	s := Empty().WithStart("a").WithContainer(&Container{ID: "a", AppUUID: "u1", ServiceName: "web"}).WithStart("a")
	if len(s.Restarts) != 0 {
		t.Errorf("a first start counts: %v", s.Restarts)
	}
	s = s.WithContainer(&Container{ID: "a", AppUUID: "u1", ServiceName: "web", StartedAt: time.Unix(7, 0)})
	again := s.WithStart("a").WithStart("a")
	if again.Restarts[slot] != 2 || s.Restarts[slot] != 0 {
		t.Errorf("%v, before it %v", again.Restarts, s.Restarts)
	}
}
