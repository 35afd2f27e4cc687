package action_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

const removeCall = "DELETE /containers/{id}"

// release makes the shop's next release, which replaces web.
func (r *rig) release(n int) harness.Target {
	r.shop.Commit, r.shop.Release = fmt.Sprintf("aaaa%d", n), 10+n
	r.shop.Services = []harness.Service{r.shop.Services[0].Setting("RELEASE", fmt.Sprint(n)), r.shop.Services[1]}
	return r.target()
}

// call makes a request for web.
func (r *rig) web(action string) <-chan harness.Answer {
	return r.later("/v2/applications/31/"+action, map[string]any{"serviceName": "web"})
}

// waits fails the test when a request is answered while an update works on its service.
func waits(t *testing.T, answer <-chan harness.Answer) {
	t.Helper()
	harness.Throughout(t, time.Second, "the request waits for the update", func() error {
		select {
		case a := <-answer:
			return fmt.Errorf("%d %s", a.Status, a.Body)
		default:
			return nil
		}
	})
}

// meet lets a request for web arrive while an update from a release to the next replaces its container,
// before meanwhile, and repeats that with further releases until the request got its turn within its
// ten seconds.
func (r *rig) meet(t *testing.T, action, held string, meanwhile func(next int) int) (release int) {
	t.Helper()
	for release = 2; release < 12; release++ {
		before := len(r.Proxy.Times(held))
		r.Proxy.Spoil(held, harness.Hang, 0, 1)
		r.PostTarget(r.release(release))
		harness.Until(t, harness.Soon, "the replacement of web", func() error {
			if now := len(r.Proxy.Times(held)); now == before {
				return errors.New("not begun")
			}
			return nil
		})
		answer := r.web(action)
		waits(t, answer)
		release = meanwhile(release)
		r.Proxy.Heal()
		a := <-answer
		if a.Status != 423 {
			a.Want(t, 200, "OK")
			return release
		}
		r.WaitSettled(harness.Soon)
	}
	t.Fatal("no request got its turn in time")
	return 0
}

func nothing(release int) int { return release }

// single fails the test unless web has one container, of a release, and returns it.
func (r *rig) single(t *testing.T, release int) harness.Container {
	t.Helper()
	c := r.Containers()["web"]
	if want := fmt.Sprintf("aaaa%d", release); !strings.HasSuffix(c.Name, want) {
		t.Errorf("web is %s, want one of %s", c.Name, want)
	}
	return c
}

// once fails the test when two containers of web ran at the same time.
func once(t *testing.T, events *harness.Recorder) {
	t.Helper()
	running := ""
	for _, e := range events.Events("container", "") {
		switch {
		case e.Service() != "web":
		case e.Action == "start" && running != "" && running != e.Actor.ID:
			t.Errorf("%.12s started while %.12s ran", e.Actor.ID, running)
			fallthrough
		case e.Action == "start":
			running = e.Actor.ID
		case e.Action == "die" && running == e.Actor.ID:
			running = ""
		}
	}
}

// docs/spec/device-api.md 1.10, 2.16: a service that is stopped while an update replaces its container is stopped
// afterwards: the new container does not run on.
func TestStopServiceDuringAnUpdate(t *testing.T) {
	r := newRig(t)
	release := r.meet(t, "stop-service", stopCall, nothing)
	r.WaitSettled(harness.Soon)
	if c := r.single(t, release); c.State.Running {
		t.Error("web runs after it was stopped")
	}
}

// The same for a restart, which makes the container of the release that is there then.
func TestRestartServiceDuringAnUpdate(t *testing.T) {
	r := newRig(t)
	events := r.Engine.Record(t)
	release := r.meet(t, "restart-service", stopCall, nothing)
	r.WaitSettled(harness.Soon)
	if c := r.single(t, release); !c.State.Running {
		t.Error("web does not run after its restart")
	}
	if n := len(events.Of("create", "web")); n < 2 {
		t.Errorf("web was created %d times, want one time for the update and one for the restart", n)
	}
	once(t, events)
}

// A third release that comes meanwhile is the one that runs, and at no time two of them do.
func TestReleasePostedWhileARestartWaits(t *testing.T) {
	r := newRig(t)
	events := r.Engine.Record(t)
	release := r.meet(t, "restart-service", stopCall, func(release int) int {
		r.PostTarget(r.release(release + 1))
		return release + 1
	})
	r.WaitSettled(harness.Soon)
	if c := r.single(t, release); !c.State.Running {
		t.Error("web does not run")
	}
	once(t, events)
}

// A release that comes while a restart works on its app waits for it.
func TestReleasePostedDuringARestart(t *testing.T) {
	r := newRig(t)
	events := r.Engine.Record(t)
	stops := len(r.Proxy.Times(stopCall))
	r.Proxy.Spoil(stopCall, harness.Hang, 0, 1)
	restart := r.web("restart-service")
	r.stops(t, stops, 1)
	r.PostTarget(r.release(2))
	harness.Throughout(t, time.Second, "the update waits", func() error {
		lines := r.LogLines("step begins")
		for i := len(lines) - 1; lines[i]["step"] != "restart"; i-- {
			if lines[i]["step"] != "save image" {
				return fmt.Errorf("step %v", lines[i])
			}
		}
		return nil
	})
	r.Proxy.Heal()
	a := <-restart
	a.Want(t, 200, "OK")
	r.WaitSettled(harness.Soon)
	if c := r.single(t, 2); !c.State.Running {
		t.Error("web does not run")
	}
	once(t, events)
}

// A container that an update is about to remove is not started once more.
func TestStartServiceDuringAnUpdate(t *testing.T) {
	r := newRig(t)
	old := r.Containers()["web"].ID
	events := r.Engine.Record(t)
	release := r.meet(t, "start-service", removeCall, nothing)
	if c := r.single(t, release); !c.State.Running {
		t.Error("web does not run after it was started")
	}
	for _, e := range events.Of("start", "web") {
		if e.Actor.ID == old {
			t.Error("the container that the update stopped was started again")
		}
	}
	r.WaitSettled(harness.Soon)
	once(t, events)
}

// A restart of the app that comes while one of its services is restarted brings that one back too
// before it is answered.
func TestRestartDuringARestartOfAService(t *testing.T) {
	r := newRig(t)
	const createCall = "POST /containers/create"
	before, creates := r.IDs(), len(r.Proxy.Times(createCall))
	r.Proxy.Spoil(createCall, harness.Hang, 0, 1)
	service := r.web("restart-service")
	r.Proxy.WaitCalls(t, harness.Soon, createCall, creates+1)
	app := r.later("/v1/restart", map[string]any{"appId": 31})
	waits(t, app)
	r.Proxy.Heal()
	a := <-service
	a.Want(t, 200, "OK")
	a = <-app
	a.Want(t, 200, "OK")
	for _, name := range []string{"web", "db"} {
		if c := r.Containers()[name]; !c.State.Running || c.ID == before[name] {
			t.Errorf("%s is %s after the restart, new: %v", name, c.State.Status, c.ID != before[name])
		}
	}
}

// Any requests for services and any releases in any order: each answer is true, at no time two
// containers of a service run, and in the end the last release does.
func TestRequestsInAnyOrder(t *testing.T) {
	r := newRig(t)
	events := r.Engine.Record(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var group sync.WaitGroup
	for n := range uint64(3) {
		draw := rand.New(rand.NewPCG(seed, n))
		group.Go(func() {
			for range 8 {
				action := []string{"stop-service", "start-service", "restart-service"}[draw.IntN(3)]
				if a := <-r.web(action); a.Status != 200 && a.Status != 423 {
					t.Errorf("%s: %d %s", action, a.Status, a.Body)
				}
			}
		})
	}
	release := 2
	for ; release < 7; release++ {
		r.PostTarget(r.release(release))
		begun := len(r.Steps())
		harness.Until(t, harness.Soon, "something to be done", func() error {
			if len(r.Steps()) == begun {
				return errors.New("nothing")
			}
			return nil
		})
	}
	group.Wait()
	r.Apply(r.release(release))
	if c := r.single(t, release); !c.State.Running {
		t.Error("web does not run")
	}
	once(t, events)
}
