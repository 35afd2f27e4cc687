// Package before_test proves what is looked at before a container is stopped for a download that is still to
// come: that its images exist, that the device may have them, that they run here, and that there is room.
// The engine and the registries are real. (Images that are on the device, and the other strategies:
// test/strategy.)
package before_test

import (
	"fmt"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// The strategies that stop a container before the download.
var strategies = []string{"kill-then-download", "delete-then-download"}

const lookCall = "GET /distribution/{id}/json"

// app is an app of one service, by a number that tells it from others.
func app(n int, strategy string, image harness.Image) harness.App {
	web := harness.Service{ID: 1, Name: fmt.Sprint("web", n), ImageID: 1000 + n, Image: image.Name}
	return harness.App{ID: 31 + n, UUID: fmt.Sprint(31 + n), Name: fmt.Sprint("shop", n), Commit: fmt.Sprint("aaaa", n), Release: 1,
		Services: []harness.Service{web.Labelled("io.balena.update.strategy", strategy)}}
}

// next is its next release, with another image.
func next(a harness.App, image harness.Image) harness.App {
	return a.Released("b"+a.Commit, a.Release+1).With(a.Services[0].Using(image.Name, a.Services[0].ImageID+1000))
}

// moment is what a device had done when something was asked of it.
type moment struct {
	*harness.Supervisor
	ids   map[string]string
	steps map[string]int
}

// steps that must not begin for a release that does not.
var drastic = []string{"kill", "fetch", "remove image"}

func now(s *harness.Supervisor) moment {
	m := moment{s, s.IDs(), map[string]int{}}
	for _, kind := range drastic {
		m.steps[kind] = s.CountSteps(kind)
	}
	return m
}

// held waits until the status tells for every app why its release does not begin, and fails the test unless
// all containers run on, and nothing was stopped, removed or downloaded since the moment.
func (s moment) held(t *testing.T, why map[string]string) {
	t.Helper()
	harness.Until(t, harness.Soon, "the reasons, in the status", func() error {
		state := s.Status()
		for name, want := range why {
			found := false
			for _, p := range state.Problems {
				found = found || p.Step == "preflight" && strings.Contains(p.Subject, name) && strings.Contains(p.Error, want)
			}
			if !found {
				return fmt.Errorf("%s: no %q in %+v", name, want, state.Problems)
			}
		}
		return nil
	})
	shown := strings.Join(strings.Fields(s.Overview()), " ") // wrapped to the width of a console
	for _, want := range why {
		if !strings.Contains(shown, want) {
			t.Errorf("resin-supervisor status does not say %q: %s", want, shown)
		}
	}
	if !s.Device().UpdateFailed {
		t.Error("update_failed is not set")
	}
	for _, kind := range drastic {
		if n := s.CountSteps(kind) - s.steps[kind]; n != 0 {
			t.Errorf("%d steps %s", n, kind)
		}
	}
	if ids := s.IDs(); fmt.Sprint(ids) != fmt.Sprint(s.ids) {
		t.Errorf("containers %v became %v", s.ids, ids)
	}
	for name, c := range s.Containers() {
		if !c.State.Running {
			t.Errorf("%s is %s", name, c.State.Status)
		}
	}
}

// unsure is how often it was said that it is not known whether there is room.
func unsure(s *harness.Supervisor) int {
	return len(s.LogLines("cannot tell whether there is room for the download"))
}
