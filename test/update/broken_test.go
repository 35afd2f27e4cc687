package update_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/engine.md 10: 56, 84.
func TestMissingImageIsRetriedWithGrowingDelayBesideAGoodApp(t *testing.T) {
	engine, registry := harness.SharedEngine(t), harness.SharedRegistry(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	good := harness.ServerImage("broken/good:v1").Load(t)
	missing := harness.Image{Name: registry.Addr + "/broken/missing:v1"}
	healthy := other("good1", 5, good.Service("ok", 7))
	s.PostTarget(harness.TargetOf(harness.Shop("aaaa1", 1, missing.Service("web", 1)), healthy))
	harness.Until(t, harness.Soon, "the good app", func() error { return engine.Running(healthy.ContainerName(healthy.Services[0])) })

	const pull = "POST /images/create"
	attempts := s.Proxy.WaitCalls(t, harness.Soon, pull, 3)
	for i, want := range []time.Duration{time.Second, 2 * time.Second} {
		if gap := attempts[i+1].Sub(attempts[i]); gap < want*9/10 {
			t.Errorf("attempt %d came %v after the one before, want %v", i+2, gap, want)
		}
	}
	if d := s.Device(); !d.UpdateFailed || !d.UpdatePending {
		t.Errorf("update_failed %v, update_pending %v", d.UpdateFailed, d.UpdatePending)
	}
	before := s.IDs()["ok"]
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, good.Service("web", 1)), healthy))
	if s.IDs()["ok"] != before {
		t.Error("the good app was touched")
	}
}

// byFile gives the device a target with apps.json, which, unlike a posted target, is taken but for its bad apps.
func byFile(s *harness.Supervisor, to harness.Target) {
	s.Stop()
	s.WriteJSON("data/apps.json", to.V3())
	s.Start()
}

// docs/spec/engine.md 10: 62.
func TestMalformedServiceDoesNotStopOtherApps(t *testing.T) {
	image := harness.ServerImage("broken/good:v1").Load(t)
	f := func(name, key string, value any) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			s := harness.StartSupervisor(t, harness.Setup{})
			healthy := other("good1", 5, image.Service("ok", 7))
			byFile(s, harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1).Composed(key, value)), healthy))
			harness.Until(t, harness.Soon, "the good app", func() error { return s.Engine.Running(healthy.ContainerName(healthy.Services[0])) })
			if _, there := s.Containers()["web"]; there {
				t.Error("the malformed service was created")
			}
			s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, image.Service("web", 1)), healthy))
		})
	}
	f("port range of unequal length", "ports", []any{"8000-8002:80-81"})
	f("duration", "stop_grace_period", "soonish")
}

// An app that ran before its definition broke is left running (docs/spec/engine.md 10: 58).
func TestMalformedReleaseLeavesTheOldOneRunning(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("broken/good:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Post("/v2/local/target-state", map[string]any{s.UUID: harness.TargetOf(first).V3()}).Want(t, http.StatusOK, `{"status":"success","message":"OK"}`)
	s.Expect(harness.TargetOf(first))
	s.WaitSettled(harness.Soon)
	before := s.IDs()
	marker := other("good1", 5, image.Service("ok", 7))
	byFile(s, harness.TargetOf(first.Released("bbbb2", 2).With(first.Services[0].Composed("ports", []any{"1-2:3"})), marker))
	harness.Until(t, harness.Soon, "the good app", func() error { return s.Engine.Running(marker.ContainerName(marker.Services[0])) })
	if got := s.IDs()["web"]; got != before["web"] {
		t.Errorf("web changed from %.12s to %.12s", before["web"], got)
	}
	if page := s.Overview(); !strings.Contains(page, "Problems app shop: rejected") || !strings.Contains(page, "service web: ports: ") {
		t.Errorf("status does not say what is wrong: %s", page)
	}
	serving(t, s.Containers()["web"], "v1")
}

// docs/spec/engine.md 10: 55.
func TestContainerThatCannotStartIsRetriedUntilTheTargetIsFixed(t *testing.T) {
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("broken/good:v1").Load(t)
	web := image.Service("web", 1)
	s.PostTarget(harness.TargetOf(harness.Shop("aaaa1", 1, web.Composed("entrypoint", []any{"/not-there"})), other("good1", 5, image.Service("ok", 7))))
	const start = "POST /containers/{id}/start"
	s.Proxy.WaitCalls(t, harness.Soon, start, 4)
	if err := engine.Running("ok_1007_5_good1"); err != nil {
		t.Error(err)
	}
	if d := s.Device(); !d.UpdateFailed {
		t.Error("update_failed is not set")
	}
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, web), other("good1", 5, image.Service("ok", 7))))
}

// docs/spec/engine.md 10: 84; a registry that is away for a while.
func TestRegistryOutageHealsByItself(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	net := registry.Slow(t, 0)
	image := net.Of(registry.Push(t, harness.ServerImage("broken/outage:v1").WithBlob(50_000)))
	net.Refuse(true)
	s.PostTarget(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1))))
	harness.Until(t, harness.Soon, "the failure to show", s.UpdateFailed)
	net.Refuse(false)
	s.WaitSettled(harness.Soon)
	harness.VersionOf(t, s.Containers()["web"])
}
