package strategy_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// repeated is the log line about a step without a lasting effect.
const repeated = "step had no lasting effect, backing off"

// flaps waits until a step was reported as coming up again, and checks that it waits longer each time.
func flaps(t *testing.T, s *harness.Supervisor, step string, times []time.Time) {
	t.Helper()
	o := s.Status()
	found := false
	for _, p := range o.Problems {
		found = found || p.Step == step && p.Repeated && p.Reason != ""
	}
	if !found {
		t.Errorf("not reported: %+v", o.Problems)
	}
	if len(s.LogLines(repeated)) == 0 {
		t.Error("not logged")
	}
	if text := s.Overview(); !strings.Contains(text, "no lasting effect") {
		t.Errorf("status says\n%s", text)
	}
	for i, want := range []time.Duration{0, 900 * time.Millisecond, 1900 * time.Millisecond} {
		if gap := times[i+1].Sub(times[i]); gap < want {
			t.Errorf("time %d came after %v, want at least %v", i+2, gap, want)
		}
	}
}

// Something removes the container whenever it is there, also after the app was settled: each time it
// is made again later, and it says so.
func TestContainerThatSomebodyRemovesAgainAndAgain(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("reason/app:v1").Load(t)
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2))))
	db := s.IDs()["db"]
	made := len(s.Proxy.Times(createCall))
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				if s.Engine.Running("web_1001_1_aaaa1") == nil {
					s.Engine.Do(http.MethodDelete, "/containers/web_1001_1_aaaa1?force=1", nil, nil)
				}
			}
		}
	}()
	end := func() {
		select {
		case <-ended:
		default:
			close(stop)
			<-ended
		}
	}
	t.Cleanup(end)
	s.Proxy.WaitCalls(t, harness.Soon, createCall, made+4)
	end()
	flaps(t, s, "start", s.Proxy.Times(createCall)[made:])
	if s.IDs()["db"] != db {
		t.Error("db was touched")
	}
	s.WaitSettled(harness.Soon)
}

// shared rewrites what the engine says of the size of shared memory.
func shared(proxy *harness.Proxy, size func() int) {
	proxy.Rewrite("GET /containers/{id}/json", func(body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"ShmSize":67108864`), fmt.Appendf(nil, `"ShmSize":%d`, size()))
	})
}

// docs/spec/engine.md 4.2: the engine says of a field something else than it was asked for, from the
// beginning and ever after: the container stays, also after a restart of the agent.
func TestFieldThatTheEngineAlters(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("reason/app:v1").Load(t)
	shared(s.Proxy, func() int { return 67108865 })
	app := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(app))
	before := s.IDs()["web"]
	s.PostTarget(harness.TargetOf(app))
	s.WaitSettled(harness.Soon)
	s.Restart()
	s.WaitSettled(harness.Soon)
	if now := s.IDs()["web"]; now != before || len(s.Proxy.Times(createCall)) != 1 {
		t.Errorf("container %.12s became %.12s, made %d times", before, now, len(s.Proxy.Times(createCall)))
	}
	const altered = "the engine made an object otherwise than asked, it stays so"
	if lines := s.LogLines(altered); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["reason"]), "service 'web' otherwise than asked: shm_size: 67108865 -> 67108864.") {
		t.Errorf("said %v", lines)
	}
	shared(s.Proxy, func() int { return 67108866 }) // somebody changed it later: that is undone
	s.Restart()
	harness.Until(t, harness.Soon, "another container", func() error {
		if len(s.Proxy.Times(createCall)) != 2 {
			return errors.New("the container stays")
		}
		return nil
	})
	s.WaitSettled(harness.Soon)
}

// docs/spec/engine.md 4.2: the engine says something else at each look: the container is recreated a few
// times, later and later although the reason is another one each time, and is never kept from running.
func TestFieldThatIsAnotherOneEachTime(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("reason/app:v1").Load(t)
	var looks atomic.Int32
	shared(s.Proxy, func() int { return 67108864 + int(looks.Add(1)) })
	s.PostTarget(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1))))
	const stop = "POST /containers/{id}/stop"
	times := s.Proxy.WaitCalls(t, harness.Soon, stop, 4)
	flaps(t, s, "kill", times)
	for _, line := range s.LogLines(repeated) {
		if line["step"] != "kill" {
			t.Errorf("what was stopped in order to be replaced has to wait: %v", line)
		}
	}
}

// Every container says why it was touched last, in the state answers and in the status.
func TestContainersSayWhyTheyWereTouched(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("reason/app:v1").Load(t)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(app))
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2).With(app.Services[0].Setting("MODE", "new"))))
	if !contains(s.Steps(), "kill web: environment MODE added") {
		t.Errorf("steps: %q", s.Steps())
	}
	var status struct {
		Containers []struct{ ServiceName, Reason string }
	}
	s.Get("/v2/state/status").JSON(t, &status)
	const want = "start: no container for service web of release bbbb2"
	if len(status.Containers) != 1 || status.Containers[0].Reason != want {
		t.Errorf("state says %+v", status.Containers)
	}
	if text := s.Overview(); !strings.Contains(text, want) {
		t.Errorf("status says\n%s", text)
	}
}
