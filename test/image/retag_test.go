package image_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// rebuild has the engine build an image of an existing one under a name, as a push of a developer does, and
// returns its id.
func rebuild(t *testing.T, e *harness.Engine, name, from, line string) (id string) {
	t.Helper()
	file := "FROM " + from + "\n" + line + "\n"
	var context bytes.Buffer
	w := tar.NewWriter(&context)
	if err := w.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(file))}); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(file))
	w.Close()
	before := e.ImageID(t, name)
	e.Must(t, http.MethodPost, "/build?t="+url.QueryEscape(name), &context, nil)
	if id = e.ImageID(t, name); id == "" || id == before {
		t.Fatalf("build of %s: image %q, was %q", name, id, before)
	}
	return id
}

// onImage waits until the container of a service runs on an image, and the device is up to date.
func onImage(t *testing.T, s *harness.Supervisor, service, id string) {
	t.Helper()
	harness.Until(t, harness.Soon, "container of "+service+" on the new image", func() error {
		if c := s.Containers()[service]; c.Image != id {
			return fmt.Errorf("image %q, want %q", c.Image, id)
		}
		return nil
	})
	s.WaitSettled(harness.Soon)
}

// docs/spec/engine.md 8.4: a tag means the image that it names now. The service follows when the engine tells
// of the tag, when the same target is posted again, and when its container was removed; the image that
// lost its name goes.
func TestServiceFollowsItsTag(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	e := s.Engine
	const name = "local_image_t:latest"
	base := harness.ServerImage("retag/base:v1").LoadInto(t, e)
	old := harness.Image{Name: name, Program: "app", Version: "one", Content: "retag one"}.LoadInto(t, e)
	target := shop(1, old.Service("web", 1), base.Service("db", 2))
	s.Apply(target)
	db, former := s.IDs()["db"], e.ImageID(t, name)

	next := func(id string) {
		t.Helper()
		onImage(t, s, "web", id)
		awaitGone(t, e, former)
		former = id
		ids := s.IDs()
		s.PostTarget(target)
		s.WaitSettled(harness.Soon)
		if now := s.IDs(); now["web"] != ids["web"] || now["db"] != db {
			t.Errorf("containers were %v, are %v", ids, now)
		}
	}
	next(rebuild(t, e, name, base.Name, "ENV VERSION=two"))
	if got := harness.VersionOf(t, s.Containers()["web"]); got != "two" {
		t.Errorf("web serves version %s", got)
	}
	three := harness.Image{Name: "retag/three:v1", Program: "app", Version: "three"}.LoadInto(t, e)
	e.Must(t, http.MethodPost, "/images/"+three.Name+"/tag?repo=local_image_t&tag=latest", nil, nil)
	e.Must(t, http.MethodDelete, "/images/"+three.Name, nil, nil)
	next(e.ImageID(t, name))
	next(rebuild(t, e, name, base.Name, "ENV VERSION=four"))

	// A name that somebody gave an image of ours keeps it.
	e.Must(t, http.MethodPost, "/images/"+name+"/tag?repo=local_image_t&tag=good", nil, nil)
	onImage(t, s, "web", rebuild(t, e, name, base.Name, "ENV VERSION=beside"))
	s.PostTarget(target)
	s.WaitSettled(harness.Soon)
	if good := e.ImageID(t, "local_image_t:good"); good != former {
		t.Errorf("local_image_t:good names %q, want %s", good, former)
	}

	// An engine that does not tell of the build: the same target posted again, or the container removed.
	s.Proxy.Spoil("GET /events", harness.Mute, 0, -1)
	s.Proxy.Cut()
	s.Proxy.WaitCalls(t, harness.Soon, "GET /events", 2)
	s.WaitSettled(harness.Soon)
	five := rebuild(t, e, name, base.Name, "ENV VERSION=five")
	s.PostTarget(target)
	s.WaitSettled(harness.Soon)
	if got := s.Containers()["web"].Image; got != five {
		t.Errorf("after the same target web is on image %s, want %s", got, five)
	}
	s.Proxy.Heal()
	s.Restart()
	s.WaitSettled(harness.Soon)
	if now := s.IDs(); now["db"] != db || s.Containers()["web"].Image != five {
		t.Errorf("after a restart: %v", s.Containers())
	}
	s.Stop()
	six := rebuild(t, e, name, base.Name, "ENV VERSION=six")
	e.Must(t, http.MethodDelete, "/containers/"+s.IDs()["web"]+"?force=1", nil, nil)
	s.Start()
	onImage(t, s, "web", six)
	if lines := s.LogLines("step had no lasting effect, backing off"); len(lines) > 0 {
		t.Errorf("said %v", lines)
	}
}

// docs/spec/engine.md 8.4, 8.2: a reference with a digest is its digest's, whatever the tag latest of its repository
// names; and it does not take that tag from a service that means it.
func TestDigestDoesNotFollowATag(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	e, registry := s.Engine, harness.SharedRegistry(t)
	fixed := registry.PushDigest(t, harness.ServerImage("retag/fixed:v1"))
	repo, _, _ := strings.Cut(fixed.Name, "@")
	s.Apply(shop(1, fixed.Service("fixed", 1)))
	before := s.IDs()["fixed"]
	if e.ImageID(t, repo+":latest") != e.ImageID(t, fixed.Name) {
		t.Error("the image has no tag latest")
	}
	id := rebuild(t, e, repo+":latest", fixed.Name, "ENV VERSION=other")
	both := shop(2, fixed.Service("fixed", 1), harness.Image{Name: repo + ":latest"}.Service("moving", 2))
	s.Apply(both)
	if c := s.Containers(); c["fixed"].ID != before || c["moving"].Image != id {
		t.Errorf("fixed was %.12s, is %.12s; moving is on %s, want %s", before, c["fixed"].ID, c["moving"].Image, id)
	}
	more := registry.PushDigest(t, harness.ServerImage("retag/fixed:v2"))
	s.Apply(shop(3, more.Service("fixed", 1), harness.Image{Name: repo + ":latest"}.Service("moving", 2)))
	if got := e.ImageID(t, repo+":latest"); got != id || s.Containers()["moving"].Image != id {
		t.Errorf("the tag latest names %s, want %s", got, id)
	}
}
