package strategy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"resin-supervisor/test/harness"
)

const (
	stopCall   = "POST /containers/{id}/stop"
	removeCall = "DELETE /containers/{id}"
)

// stubborn is a service that takes no notice of SIGTERM, so that its stop takes the whole grace period.
func stubborn(t *testing.T) harness.Service {
	t.Helper()
	return harness.ServerImage("stopped/app:v1").Load(t).Service("web", 1).Setting("IGNORE_TERM", "1").Composed("stop_grace_period", "3s")
}

// exited waits until the engine says that a container does not run.
func exited(t *testing.T, s *harness.Supervisor, id string) harness.Container {
	t.Helper()
	var c harness.Container
	harness.Until(t, harness.Soon, "the end of the container", func() (err error) {
		if c, err = s.Engine.Container(id); err == nil && c.State.Status != "exited" {
			err = errors.New(c.State.Status)
		}
		return err
	})
	return c
}

// runsAgain waits until the service of a container runs another time than before: the container itself, or a
// new one where a step under way removed it.
func runsAgain(t *testing.T, s *harness.Supervisor, before harness.Container) {
	t.Helper()
	harness.Until(t, harness.Soon, "another run of "+before.Service(), func() error {
		now := s.Containers()[before.Service()]
		if !now.State.Running || now.State.StartedAt == before.State.StartedAt {
			return fmt.Errorf("%q, started %s, before %s", now.State.Status, now.State.StartedAt, before.State.StartedAt)
		}
		return nil
	})
	s.WaitSettled(harness.Soon)
}

// engine.md 5.5: a container that the agent stopped for an update runs again when it is wanted again, also
// when the agent was killed meanwhile: during the stop, or after it and before the removal. When the update
// is still wanted it goes on.
func TestContainerThatTheAgentStoppedRunsWhenItIsWantedAgain(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	old := harness.Shop("aaaa1", 1, stubborn(t))
	next := old.Released("bbbb2", 2).With(old.Services[0].Setting("MODE", "new"))
	s.Apply(harness.TargetOf(old))
	before := s.Containers()["web"]
	killAt := func(call string) {
		t.Helper()
		n := len(s.Proxy.Times(call))
		s.PostTarget(harness.TargetOf(next))
		s.Proxy.WaitCalls(t, harness.Soon, call, n+1)
		s.Kill()
	}

	back := func() { // to the old release, before what was stopped for the new one is removed
		t.Helper()
		s.Proxy.Spoil(removeCall, harness.Fail, 0, -1)
		s.Start()
		s.PostTarget(harness.TargetOf(old))
		s.Proxy.Heal()
	}

	killAt(stopCall)
	exited(t, s, before.ID)
	back()
	runsAgain(t, s, before)

	before = s.Containers()["web"]
	killAt(stopCall)
	back() // while the engine is still about to stop it
	runsAgain(t, s, before)

	before = s.Containers()["web"]
	s.Proxy.Spoil(removeCall, harness.Hang, 0, 1)
	killAt(removeCall)
	if c := exited(t, s, before.ID); c.State.StartedAt != before.State.StartedAt {
		t.Fatal("the container was started meanwhile")
	}
	back()
	runsAgain(t, s, before)

	before = s.Containers()["web"]
	killAt(stopCall)
	s.Start()
	s.Expect(harness.TargetOf(next))
	s.WaitSettled(harness.Soon)
	s.WaitRunning("web_1001_2_bbbb2")
	if noted := stops(t, s); len(noted) > 1 {
		t.Errorf("the document of stops grows: %v", noted)
	}
}

// stops are the containers (id) of which the supervisor's document says that they were stopped.
func stops(t *testing.T, s *harness.Supervisor) map[string]json.RawMessage {
	t.Helper()
	var document map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s.ReadFile("documents/stops.json")), &document); err != nil {
		t.Fatalf("stops.json: %v", err)
	}
	found := map[string]json.RawMessage{}
	for _, raw := range document {
		_ = json.Unmarshal(raw, &found) // or another part of the envelope
	}
	return found
}

// engine.md 5.5: a service that the target stopped runs again when the target wants that; one that a user
// stopped stays so.
func TestStopOfTheTargetAndStopOfAUser(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	web := stubborn(t)
	app := harness.Shop("aaaa1", 1, web)
	s.Apply(harness.TargetOf(app))
	halted := web
	halted.Stopped = true
	s.PostTarget(harness.TargetOf(app.With(halted)))
	before := exited(t, s, "web_1001_1_aaaa1")
	s.WaitSettled(harness.Soon)
	s.Restart()
	s.PostTarget(harness.TargetOf(app))
	runsAgain(t, s, before)

	s.Post("/v2/applications/31/stop-service", dict{"serviceName": "web"}).Want(t, 200, "OK")
	stopped := exited(t, s, before.ID)
	s.Restart()
	s.WaitListed()
	s.Apply(harness.TargetOf(app.Released("cccc3", 3)))
	if c := exited(t, s, before.ID); c.State.StartedAt != stopped.State.StartedAt {
		t.Error("a service that a user stopped was started")
	}
	s.Post("/v2/applications/31/start-service", dict{"serviceName": "web"}).Want(t, 200, "OK")
	runsAgain(t, s, stopped)
}
