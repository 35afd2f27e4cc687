package strategy_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// handover is shop with one service that hands over, at its first release; next is its second.
func handover(t *testing.T) (first, next harness.App) {
	t.Helper()
	image := harness.ServerImage("handover/app:v1").Load(t)
	web := image.Service("web", 1).Labelled(strategyLabel, "hand-over")
	first = harness.Shop("aaaa1", 1, web)
	return first, first.Released("bbbb2", 2).With(web.Setting("MODE", "new"))
}

// both waits until two containers of web run and returns them.
func both(t *testing.T, s *harness.Supervisor) (old, fresh harness.Container) {
	t.Helper()
	s.WaitRunning("old_web_1001_1_aaaa1", "web_1001_2_bbbb2")
	found := byName(t, s)
	return found["old_web_1001_1_aaaa1"], found["web_1001_2_bbbb2"]
}

// engine.md 67: both run; the file in the new container ends the old one within a second.
// engine.md 89: Handing over, Awaiting handover, applying changes.
func TestHandOverWaitsForTheFile(t *testing.T) {
	for _, sign := range []string{"handover-complete", "resin-kill-me"} {
		t.Run(sign, func(t *testing.T) {
			s := harness.StartSupervisor(t, harness.Setup{})
			first, next := handover(t)
			s.Apply(harness.TargetOf(first))
			before := s.Containers()["web"]
			// What an earlier container wrote is no sign of the new one.
			harness.MustAsk(t, before, http.MethodPut, "/file?path=/tmp/balena/"+sign, "")
			s.PostTarget(harness.TargetOf(next))
			old, fresh := both(t, s)
			if old.ID != before.ID || old.HostConfig.RestartPolicy.Name != "no" {
				t.Errorf("old container %.12s (was %.12s), restart policy %q", old.ID, before.ID, old.HostConfig.RestartPolicy.Name)
			}
			harness.Throughout(t, time.Second, "the wait for the file", func() error {
				return errors.Join(s.Engine.Running(old.ID), s.Engine.Running(fresh.ID))
			})
			checkHandover(t, s)

			harness.MustAsk(t, fresh, http.MethodPut, "/file?path=/tmp/balena/"+sign, "")
			// The time for a hand-over without a sign is a minute.
			harness.Until(t, harness.Soon, "the end of the old container", func() error { return s.Engine.Gone(old.ID) })
			s.WaitSettled(harness.Soon)
			if now := s.Containers()["web"]; now.ID != fresh.ID {
				t.Error("the new container was replaced")
			}
			if _, err := os.Lstat(filepath.Join(s.LockDir(31, "web"), sign)); err == nil {
				t.Error("the file is still there")
			}
		})
	}
}

func checkHandover(t *testing.T, s *harness.Supervisor) {
	t.Helper()
	update, services := phases(t, s)
	if update != "applying changes" || services["web"] != "Awaiting handover" {
		t.Errorf("%s, web is %s", update, services["web"])
	}
	shown := map[string]bool{}
	for _, c := range s.Status().Apps[0].Containers {
		shown[c.Status] = true
	}
	if !shown["Handing over"] || !shown["Awaiting handover"] {
		t.Errorf("containers shown as %v", shown)
	}
	// engine.md 73: a hand-over needs the app's lock like any other replacement.
	if held, _ := filepath.Glob(s.LockDir(31, "web") + "/*.lock"); len(held) != 2 {
		t.Errorf("locks during the hand-over: %q", held)
	}
}

// engine.md 67: without a sign the old container goes at the timeout, of the label or the configuration:
// one app for each.
func TestHandOverEndsAtTheTimeout(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("handover/app:v1").Load(t)
	settings := map[string]string{"BALENA_SUPERVISOR_HANDOVER_TIMEOUT": "2500"}
	label := image.Service("label", 1).Labelled(strategyLabel, "hand-over").Labelled(handoverLabel, "1000")
	config := image.Service("config", 2).Labelled(strategyLabel, "hand-over")
	one, two := harness.Shop("aaaa1", 1, label), harness.App{ID: 32, UUID: "32", Name: "two", Commit: "cccc1", Release: 3, Services: []harness.Service{config}}
	s.Apply(harness.Target{Config: settings, Apps: []harness.App{one, two}})
	events := s.Engine.Record(t)
	s.Apply(harness.Target{Config: settings, Apps: []harness.App{
		one.Released("bbbb2", 2).With(label.Setting("MODE", "new")), two.Released("dddd2", 4).With(config.Setting("MODE", "new"))}})
	for name, want := range map[string]time.Duration{"label": time.Second, "config": 2500 * time.Millisecond} {
		took := time.Duration(at(t, events, "kill", name) - at(t, events, "start", name))
		if took < want || took > 50*time.Second { // the default is a minute
			t.Errorf("%s: the old container was stopped %v after the start of the new one, want %v", name, took, want)
		}
	}
}

// A new container that cannot be started leaves the old one as it was, and serving.
func TestHandOverToABrokenContainerIsCalledOff(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	first, next := handover(t)
	s.Apply(harness.TargetOf(first))
	before := s.Containers()["web"]
	s.PostTarget(harness.TargetOf(next.With(next.Services[0].Composed("entrypoint", list{"/not-there"}))))
	harness.Until(t, harness.Soon, "two attempts", func() error {
		if n := s.CountSteps("handover web"); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if n := s.Proxy.Counts()[startCall]; n < 3 {
		t.Errorf("%d starts", n)
	}
	s.PostTarget(harness.TargetOf(first))
	s.WaitSettled(harness.Soon)
	now := s.Containers()["web"]
	if now.ID != before.ID || now.State.StartedAt != before.State.StartedAt || now.HostConfig.RestartPolicy.Name != "always" {
		t.Errorf("the old container changed: %.12s -> %.12s, started %s, policy %s", before.ID, now.ID, now.State.StartedAt, now.HostConfig.RestartPolicy.Name)
	}
	if n := s.CountSteps("kill web"); n != 0 {
		t.Errorf("web was killed %d times", n)
	}
}

// engine.md 68: killed during a hand-over, the newest container survives.
// engine.md 67: the old one does not come back with the engine.
func TestNewestSurvivesAnInterruptedHandOver(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	first, next := handover(t)
	s.Apply(harness.TargetOf(first))
	s.PostTarget(harness.TargetOf(next))
	old, fresh := both(t, s)
	s.Kill()
	s.Engine.Stop(t)
	s.Engine.Start(t)
	s.WaitRunning(fresh.ID)
	if err := s.Engine.Running(old.ID); err == nil {
		t.Error("the old container came back with the engine")
	}
	s.Start()
	s.WaitSettled(harness.Soon)
	if now := s.Containers()["web"]; now.ID != fresh.ID {
		t.Error("the newest container did not survive")
	}
}

// A hand-over needs two containers side by side; where a network they use is recreated it cannot be.
func TestHandOverOverAChangedNetworkIsAReplacement(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	first, next := handover(t)
	first.Networks = dict{"default": dict{}}
	s.Apply(harness.TargetOf(first))
	before := s.Containers()["web"]
	next.Networks = dict{"default": dict{"ipam": dict{"config": list{dict{"subnet": "172.31.7.0/24", "gateway": "172.31.7.1"}}}}}
	s.Apply(harness.TargetOf(next))
	if s.CountSteps("handover") != 0 || s.Containers()["web"].ID == before.ID {
		t.Errorf("steps: %q", s.Steps())
	}
}
