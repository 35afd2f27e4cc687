package strategy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// cpu is the processor time of a process, in clock ticks of 10 ms.
func cpu(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

// engine.md 90: a service that keeps crashing is the engine's business: shown as Running, its exit code
// at hand, no step, few engine calls and little work.
func TestCrashLoopCostsNothing(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	crash := harness.OneshotImage("run/crash:v1").Load(t)
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, crash.Service("crash", 1).Setting("EXIT_CODE", "7"))))
	harness.Until(t, harness.Soon, "its exit code in the status", func() error {
		c := s.Status().Apps[0].Containers[0]
		if c.ExitCode != 7 || c.Status != "Running" {
			return fmt.Errorf("%s, exit code %d", c.Status, c.ExitCode)
		}
		return nil
	})
	before, calls, begun := cpu(t, s.Process().PID()), s.Proxy.Total(), len(s.Steps())
	events := s.Engine.Record(t)
	harness.Until(t, harness.Soon, "five crashes", func() error {
		if n := len(events.Of("die", "crash")); n < 5 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	dies := len(events.Of("die", "crash"))
	if n := s.Proxy.Total() - calls; n > 6*(dies+1) {
		t.Errorf("%d engine calls for %d crashes", n, dies)
	}
	if used := cpu(t, s.Process().PID()) - before; used > 5*(dies+1) {
		t.Errorf("%d0 ms of processor time for %d crashes", used, dies)
	}
	if now := s.Steps(); len(now) != begun {
		t.Errorf("steps: %q", now[begun:])
	}
}

// engine.md 50: a job that ended stays ended, over applies and over a restart of the supervisor.
// engine.md 51: running false: created and not started, or stopped.
// engine.md 52: stopped by the API, a service stays so over releases that change nothing of it.
func TestRunState(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image, once := harness.ServerImage("run/app:v1").Load(t), harness.OneshotImage("run/once:v1").Load(t)
	idle := image.Service("idle", 3)
	idle.Stopped = true
	app := harness.Shop("aaaa1", 1, image.Service("web", 1), once.Service("job", 2).Composed("restart", "on-failure").Setting("EXIT_CODE", "0"), idle)
	s.Apply(harness.TargetOf(app))
	state := func(want map[string]string) {
		t.Helper()
		for name, c := range s.Containers() {
			if c.State.Status != want[name] {
				t.Errorf("%s is %s, want %s", name, c.State.Status, want[name])
			}
		}
	}
	harness.Until(t, harness.Soon, "the end of the job", func() error {
		if c := s.Containers()["job"]; c.State.Status != "exited" {
			return errors.New(c.State.Status)
		}
		return nil
	})
	s.Post("/v2/applications/31/stop-service", dict{"serviceName": "web"}).Want(t, 200, "OK")
	before := s.Containers()
	want := map[string]string{"web": "exited", "job": "exited", "idle": "created"}
	state(want)
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2)))
	s.Restart()
	s.WaitListed()
	s.Apply(harness.TargetOf(app.Released("cccc3", 3)))
	state(want)
	for name, c := range s.Containers() {
		if c.ID != before[name].ID || c.State.StartedAt != before[name].State.StartedAt {
			t.Errorf("%s was started or recreated", name)
		}
	}
	// What is wanted otherwise is recreated and runs; running true starts what was only created.
	idle.Stopped = false
	halted := app.Services[1].Setting("EXIT_CODE", "0")
	s.Apply(harness.TargetOf(app.Released("dddd4", 4).With(app.Services[0].Setting("MODE", "new"), halted, idle)))
	state(map[string]string{"web": "running", "job": "exited", "idle": "running"})
	if s.Containers()["idle"].ID != before["idle"].ID {
		t.Error("idle was recreated, it should have been started")
	}
}

// engine.md 54: of two containers of one service the newest stays.
func TestSecondContainerOfAServiceGoes(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("run/app:v1").Load(t)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(app))
	before := s.Containers()["web"]
	spare := copyOf(t, s.Engine, before.ID, "web_1001_9_5pa4e")
	s.WaitSettled(harness.Soon)
	harness.Until(t, harness.Soon, "the end of the older one", func() error { return s.Engine.Gone(before.ID) })
	s.WaitSettled(harness.Soon)
	s.WaitRunning("web_1001_1_aaaa1")
	if now := s.Containers()["web"]; now.ID != spare {
		t.Errorf("%.12s is left, want the newest, %.12s", now.ID, spare)
	}
}

// engine.md 55: a container that cannot be started is tried again with growing delay.
// engine.md 56: 1, 2, 4 ... seconds; a new target is tried at once.
func TestStartIsTriedAgainWithGrowingDelay(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("run/app:v1").Load(t)
	web := image.Service("web", 1)
	s.PostTarget(harness.TargetOf(harness.Shop("aaaa1", 1, web.Composed("entrypoint", list{"/not-there"}))))
	harness.Until(t, harness.Soon, "three failures, and the next attempt to be shown", func() error {
		o := s.Status()
		if n := len(waits(t, s, "/not-there")); n < 3 || !o.UpdateFailed || len(o.Problems) == 0 || !strings.Contains(o.Problems[0].Error, "not-there") ||
			o.NextAttempt.IsZero() {
			return fmt.Errorf("%d failures, %+v", n, o)
		}
		return nil
	})
	if n := s.Proxy.Counts()[createCall]; n != 1 {
		t.Errorf("%d containers were created", n)
	}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		if got := waits(t, s, "/not-there")[i]; got < want || got > want+time.Second { // the log has whole seconds
			t.Errorf("after failure %d: the next attempt in %v, want %v", i+1, got, want)
		}
	}
	times := s.Proxy.Times(startCall)
	for i, want := range []time.Duration{time.Second, 2 * time.Second} {
		if gap := times[i+1].Sub(times[i]); gap < want*9/10 {
			t.Errorf("attempt %d came after %v, want %v", i+2, gap, want)
		}
	}
	s.PostTarget(harness.TargetOf(harness.Shop("bbbb2", 2, web.Composed("entrypoint", list{"/still-not-there"}))))
	harness.Until(t, harness.Soon, "the new target to be tried", func() error {
		if len(waits(t, s, "/still-not-there")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if first := waits(t, s, "/still-not-there")[0]; first > 2*time.Second {
		t.Errorf("after the first failure of the new target: the next attempt in %v, want 1s", first)
	}
	s.Apply(harness.TargetOf(harness.Shop("cccc3", 3, web)))
}

// waits are the times between a failure and the next attempt that the log tells, for errors with a text.
func waits(t *testing.T, s *harness.Supervisor, text string) []time.Duration {
	t.Helper()
	var found []time.Duration
	for _, line := range s.LogLines("step did not succeed") {
		if !strings.Contains(fmt.Sprint(line["error"]), "\""+text) {
			continue
		}
		now, err := time.Parse(time.RFC3339, fmt.Sprint(line["time"]))
		next, err2 := time.Parse(time.RFC3339, fmt.Sprint(line["retry"]))
		if err = errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		found = append(found, next.Sub(now))
	}
	return found
}

// engine.md 63: a port on an address that comes later; the container was never started, or it was and
// came back with the engine before the address did.
func TestPortOnALateAddress(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("run/app:v1").Load(t)
	address := func(verb string) {
		t.Helper()
		harness.RunTool(t, "ip", "address", verb, "10.99.0.1/32", "dev", "lo")
	}
	app := harness.Shop("aaaa1", 1, image.Service("web", 1).Composed("ports", list{"10.99.0.1:8088:8080"}))
	s.PostTarget(harness.TargetOf(app))
	harness.Until(t, harness.Soon, "the failure", func() error {
		if o := s.Status(); len(o.Problems) == 0 {
			return errors.New("no problem shown")
		}
		return nil
	})
	address("add")
	t.Cleanup(func() { address("del") })
	s.WaitSettled(harness.Soon)
	before := s.Containers()["web"]

	address("del")
	s.Engine.Stop(t)
	s.Engine.Start(t)
	harness.Until(t, harness.Soon, "the container down", func() error {
		if c, err := s.Engine.Container(before.ID); err != nil || c.State.Running || !strings.Contains(c.State.Error, "cannot assign") {
			return fmt.Errorf("%s %q %v", c.State.Status, c.State.Error, err)
		}
		return nil
	})
	address("add")
	s.WaitRunning(before.ID)
}

// engine.md 47: a release with the same configuration renames and restarts nothing.
// engine.md 58: an app that is refused is left as it is.
// engine.md 62: and the others are applied.
func TestRefusedAppIsLeftRunning(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("run/app:v1").Load(t)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1))
	beside := harness.App{ID: 32, UUID: "32", Name: "other", Commit: "gggg1", Release: 5, Services: []harness.Service{image.Service("ok", 7)}}
	s.Apply(harness.TargetOf(app, beside))
	before := s.IDs()
	contract := dict{"type": "sw.container", "slug": "needy", "requires": list{dict{"type": "sw.supervisor", "version": ">=9999.0.0"}}}
	broken := app.Released("bbbb2", 2).With(app.Services[0].Composed("contract", contract))
	s.PostTarget(harness.TargetOf(broken, beside.Released("gggg2", 6)))
	s.WaitRunning("ok_1007_6_gggg2", "web_1001_1_aaaa1")
	if now := s.IDs(); now["ok"] != before["ok"] || now["web"] != before["web"] {
		t.Error("containers were recreated")
	}
	if update, _ := phases(t, s); update != "rejected" {
		t.Errorf("update status %q", update)
	}
	// engine.md 58: an optional service whose contract is not met is left out, the others run.
	needy := image.Service("needy", 2).Composed("contract", contract).Labelled("io.balena.features.optional", "1")
	s.PostTarget(harness.TargetOf(app.Released("cccc3", 3).With(app.Services[0], needy), beside.Released("gggg2", 6)))
	s.WaitRunning("web_1001_3_cccc3")
	s.Expect(harness.TargetOf(app.Released("cccc3", 3), beside.Released("gggg2", 6)))
	s.WaitSettled(harness.Soon)
	s.PostTarget(harness.TargetOf(app.Released("dddd4", 4).With(app.Services[0], image.Service("needy", 2).Composed("contract", contract)), beside.Released("gggg2", 6)))
	harness.Until(t, harness.Soon, "the refusal", func() error {
		if update, _ := phases(t, s); update != "rejected" {
			return errors.New(update)
		}
		return nil
	})
	if err := s.Engine.Running("web_1001_3_cccc3"); err != nil {
		t.Error(err)
	}
}
