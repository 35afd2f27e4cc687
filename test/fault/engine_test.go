package fault_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/device-api.md 1.11, 10: 105, 151.
func TestAPIAnswersWithoutAnEngineAndAppliesOnceItIsThere(t *testing.T) {
	engine := harness.SharedEngine(t)
	v1, _, db := images(t)
	app := shop("aaaa1", 1, v1, db)
	engine.Stop(t)
	s := harness.NewSupervisor(t, harness.Setup{Engine: engine, Apps: harness.TargetOf(app).V3()})
	s.Expect(harness.TargetOf(app))
	s.Start()
	pid := s.Process().PID()
	s.CallAs("", "GET", "/ping", nil).Want(t, 200, "OK")
	s.CallAs("", "GET", "/v1/healthy", nil).Want(t, 200, "OK")
	for _, path := range []string{"/v1/device", "/v2/state/status", "/v2/applications/state", "/v2/applications/31/state",
		"/v1/apps/31", "/v2/version", "/v2/device/name", "/v2/containerId", "/v2/local/target-state", "/v2/local/device-info"} {
		began := time.Now()
		answer := s.Get(path)
		if took := time.Since(began); took > 5*time.Second || answer.Status == 0 {
			t.Errorf("GET %s took %v", path, took)
		}
	}
	for _, path := range []string{"/v1/restart", "/v1/purge"} {
		if answer := s.Post(path, map[string]any{"appId": 31}); answer.Status < 400 {
			t.Errorf("POST %s without an engine: %d %s", path, answer.Status, answer.Body)
		}
	}
	engine.Start(t)
	s.WaitSettled(soon)
	if s.Process().PID() != pid || s.Alive() != nil {
		t.Error("the supervisor did not survive the absence of its engine")
	}
}

// docs/spec/engine.md 10: 34; the engine restarts its containers by their policy.
func TestRestartOfTheEngineChangesNoContainer(t *testing.T) {
	v1, _, db := images(t)
	s := harness.StartSupervisor(t, harness.Setup{})
	app := shop("aaaa1", 1, v1, db)
	s.Apply(harness.TargetOf(app))
	before := s.IDs()
	s.Engine.Stop(t)
	harness.Until(t, soon, "ping without an engine", s.Alive)
	s.Engine.Start(t)
	s.WaitSettled(soon)
	for name, id := range s.IDs() {
		if before[name] != id {
			t.Errorf("%s was recreated after a restart of the engine", name)
		}
	}
	s.Apply(harness.TargetOf(shop("bbbb2", 1, v1, db)))
	for name, id := range s.IDs() {
		if before[name] != id {
			t.Errorf("%s was recreated by the release after a restart of the engine", name)
		}
	}
}

func TestEngineKilledInTheMiddleOfAnUpdateConverges(t *testing.T) {
	v1, v2, db := images(t)
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.Apply(harness.TargetOf(shop("aaaa1", 1, v1, db)))
	harness.MustAsk(t, s.Containers()["web"], http.MethodPut, "/file?path=/data/kept", "precious")
	release := 1
	for _, call := range []string{"POST /containers/{id}/stop", "POST /containers/create", "POST /containers/{id}/start"} {
		release++
		web := v1
		if release%2 == 0 {
			web = v2
		}
		web.Load(t)
		s.Proxy.Spoil(call, harness.Hang, 0, 1)
		seen := len(s.Proxy.Times(call))
		s.PostTarget(harness.TargetOf(shop(fmt.Sprintf("cccc%d", release), release, web, db)))
		s.Proxy.WaitCalls(t, soon, call, seen+1)
		engine.Kill(t)
		s.Proxy.Heal()
		harness.Until(t, soon, "life without an engine", s.Alive)
		engine.Start(t)
		harness.Until(t, soon, "the target after the engine was killed at "+call, s.Settled)
		web1 := s.Containers()["web"]
		harness.WantVersion(t, web1, web.Version)
		if got := harness.MustAsk(t, web1, http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
			t.Errorf("the volume holds %q", got)
		}
	}
}

// docs/spec/engine.md 10: 7.
func TestEventsDuringACutOfTheStreamAreNotLost(t *testing.T) {
	v1, _, db := images(t)
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.Apply(harness.TargetOf(shop("aaaa1", 1, v1, db)))
	s.Proxy.Spoil("GET /events", harness.Reset, 0, -1)
	s.Proxy.Cut()
	// The stop by hand happens while nobody listens.
	engine.Must(t, http.MethodPost, "/containers/"+s.IDs()["web"]+"/stop", nil, nil)
	s.Proxy.Heal()
	harness.Until(t, 10*time.Second, "the exit to show in the API", func() error {
		var state struct {
			Containers []struct{ ServiceName, Status string }
		}
		answer := s.Get("/v2/state/status")
		answer.JSON(t, &state)
		for _, c := range state.Containers {
			if c.ServiceName == "web" && c.Status == "exited" {
				return nil
			}
		}
		return errors.New(answer.Body)
	})
}

// docs/spec/engine.md 10: 3: a pull that breaks off is a failed pull and is tried again.
func TestPullCutInTheMiddleIsTriedAgain(t *testing.T) {
	registry := harness.SharedRegistry(t)
	net := registry.Slow(t, 200_000)
	image := net.Of(registry.Push(t, harness.ServerImage("fault/cut:v1").WithBlob(600_000)))
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	app := shop("aaaa1", 1, image, image)
	s.PostTarget(harness.TargetOf(app))
	harness.Until(t, soon, "bytes", func() error {
		if net.Bytes() < 100_000 {
			return fmt.Errorf("%d bytes", net.Bytes())
		}
		return nil
	})
	s.Proxy.Cut()
	s.WaitSettled(soon)
	net.SetRate(0)
	if n := len(s.Proxy.Times("POST /images/create")); n != 2 {
		t.Errorf("%d pulls of one image for two services with one cut, want 2", n)
	}
}
