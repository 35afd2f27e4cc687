package action_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// goesDown waits until logind was asked n times in all, and for as long again as it could be asked
// once too often.
func (r *rig) goesDown(t *testing.T, what string, n int) {
	t.Helper()
	r.Bus.WaitAsked(t, what, n)
}

// stillUp fails the test when logind is asked for anything within the time a departure takes.
func (r *rig) stillUp(t *testing.T) {
	t.Helper()
	harness.Throughout(t, 1500*time.Millisecond, "logind is left alone", func() error {
		if calls := r.Bus.Calls(); len(calls) > 0 {
			return fmt.Errorf("logind was asked for %v", calls)
		}
		return nil
	})
}

// device-api.md 57, 63: the answer comes first, then logind is asked, once.
func TestReboot(t *testing.T) {
	r := newRig(t)
	before := r.IDs()
	began := time.Now()
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	// A new connection within that second is answered.
	r.Dial().Close()
	if err := r.Alive(); err != nil {
		t.Error(err)
	}
	r.Post("/v1/reboot", nil).Want(t, 202, granted) // the same one
	r.Post("/v1/shutdown", nil).Want(t, 500, refused(leaving))
	r.goesDown(t, "Reboot", 1)
	if after := r.Bus.Calls()[0].At.Sub(began); after < 500*time.Millisecond {
		t.Errorf("logind was asked %v after the request", after)
	}
	harness.Throughout(t, 1500*time.Millisecond, "once", func() error {
		if calls := r.Bus.Calls(); len(calls) != 1 {
			return fmt.Errorf("logind was asked for %v", calls)
		}
		return nil
	})
	// No app is touched on the way out.
	for name, c := range r.Containers() {
		if c.ID != before[name] || !c.State.Running {
			t.Errorf("%s is %s, new: %v", name, c.State.Status, c.ID != before[name])
		}
	}
	if harness.Exists(filepath.Join(r.LockDir(31, "web"), "updates.lock")) {
		t.Error("the supervisor kept its lock")
	}
}

// docs/spec/engine.md 7: for a reboot and the other actions a lock counts that is in any directory of the app, also
// that of a service without a container.
func TestLockOfAServiceWithoutContainer(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(r.LockDir(31, "gone"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := r.LockUpdates(31, "gone")
	for path, body := range map[string]any{"/v1/reboot": nil, "/v2/applications/31/restart-service": map[string]any{"serviceName": "web"}} {
		if a := r.Post(path, body); a.Status != 423 || !harness.Exists(file) {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	r.Post("/v1/reboot", map[string]any{"force": true}).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
	if harness.Exists(file) || harness.Exists(filepath.Join(r.LockDir(31, "gone"), "resin-updates.lock")) {
		t.Error("a lock stayed")
	}
}

// device-api.md 58.
func TestShutdown(t *testing.T) {
	r := newRig(t)
	r.Post("/v1/shutdown", map[string]any{"force": false}).Want(t, 202, granted)
	r.goesDown(t, "PowerOff", 1)
	if r.Bus.Asked("Reboot") != 0 {
		t.Error("the device reboots")
	}
}

// device-api.md 59, and the same lock in any app; issue: a reboot requested while a lock is held.
// engine.md 76.
func TestRebootRespectsEveryAppsLock(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/v1/reboot", "/v1/shutdown"} {
		for app, service := range map[int]string{31: "db", 32: "main"} {
			file := r.LockUpdates(app, service)
			r.Post(path, nil).Want(t, 423, refused(fmt.Sprintf("Lockfile exists for { appId: %d, service: %s }", app, service)))
			r.Post(path, map[string]any{"force": "yes"}).Want(t, 423, refused(fmt.Sprintf("Lockfile exists for { appId: %d, service: %s }", app, service)))
			if !harness.Exists(file) {
				t.Errorf("%s: a refused request removed the lock", path)
			}
			os.Remove(file)
		}
	}
	r.stillUp(t)
	file := r.LockUpdates(31, "db")
	r.Post("/v1/reboot", map[string]any{"force": true}).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
	if harness.Exists(file) {
		t.Error("the forced reboot left the user's lock")
	}
}

// device-api.md 60: the configuration variable that overrides locks counts as force.
func TestRebootWithLockOverride(t *testing.T) {
	r := newRig(t)
	target := r.target()
	target.Config = map[string]string{"SUPERVISOR_OVERRIDE_LOCK": "1"}
	r.Apply(target)
	r.LockUpdates(31, "db")
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
}

// device-api.md 61; engine.md 77.
func TestRebootWaitsForTheHostUpdate(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"rollback-health-breadcrumb", "rollback-altboot-breadcrumb"} {
		r.WriteFile("state/"+name, "")
		for _, path := range []string{"/v1/reboot", "/v1/shutdown"} {
			r.Post(path, nil).Want(t, 423, refused("Waiting for Host OS update to finish"))
		}
		os.Remove(r.Path("state", name))
	}
	r.stillUp(t)
	r.WriteFile("state/rollback-health-breadcrumb", "")
	r.Post("/v1/reboot", map[string]any{"force": true}).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
}

// device-api.md 62, A10: a refusal of logind leaves everything as it was.
func TestLogindRefuses(t *testing.T) {
	r := newRig(t)
	r.Bus.Refuse("no")
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
	before := r.IDs()
	harness.Until(t, harness.Soon, "a restart after the refusal", func() error {
		if a := r.Post("/v1/restart", map[string]any{"appId": 32}); a.Status != 200 {
			return fmt.Errorf("%d %s", a.Status, a.Body)
		}
		return nil
	})
	r.WaitSettled(harness.Soon)
	if r.IDs()["main"] == before["main"] {
		t.Error("the restart did nothing")
	}
	r.shop.Commit = "aaaa2"
	r.Apply(r.target())
	r.Bus.Refuse("")
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 2)
}

// device-api.md 2.5: without logind the answer is an error, and no lock is lost for it.
func TestLogindIsNotThere(t *testing.T) {
	r := newRig(t)
	r.Bus.Leave(t, "org.freedesktop.login1")
	file := r.LockUpdates(31, "db")
	for path, body := range map[string]any{"/v1/reboot": map[string]any{"force": true}, "/v1/shutdown": map[string]any{"force": 1}} {
		answer := r.Post(path, body)
		var e struct{ Data, Error string }
		if answer.JSON(t, &e); answer.Status != 500 || e.Data != "" || len(e.Error) < len("Logind unavailable: ") || e.Error[:18] != "Logind unavailable" {
			t.Errorf("%s without logind: %d %s", path, answer.Status, answer.Body)
		}
	}
	if !harness.Exists(file) {
		t.Error("the lock is gone although nothing was done")
	}
	os.Remove(file)
	if answer := r.Post("/v1/reboot", nil); answer.Status != 500 {
		t.Errorf("reboot without logind: %d %s", answer.Status, answer.Body)
	}
	r.Bus.Return(t, "org.freedesktop.login1")
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
}

// device-api.md A9: what would wait for ever behind a reboot is told so, and reads go on.
func TestActionsAfterARebootWasGranted(t *testing.T) {
	r := newRig(t)
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	before := r.IDs()
	for _, path := range []string{"/v2/applications/31/restart", "/v2/applications/32/purge"} {
		r.Post(path, nil).Want(t, 503, harness.Failed(leaving))
	}
	for _, path := range []string{"/ping", "/v1/device", "/v2/state/status", "/v2/applications/state"} {
		if answer := r.Get(path); answer.Status != 200 {
			t.Errorf("GET %s: %d", path, answer.Status)
		}
	}
	r.Post("/v1/update", nil).Want(t, 204, "")
	r.shop.Services[1] = r.shop.Services[1].Setting("NEW", "1")
	r.shop.Commit = "aaaa2"
	r.PostTarget(r.target())
	r.goesDown(t, "Reboot", 1)
	for name, id := range r.IDs() {
		if before[name] != id {
			t.Errorf("%s was replaced while the device goes down", name)
		}
	}
	// The agent that comes up after the reboot goes on.
	r.Kill()
	r.Start()
	r.WaitSettled(harness.Soon)
}

// A reboot is needed most when the engine does not answer any more: it is granted, as the locks allow, which
// need no engine.
func TestRebootWithoutAnEngine(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{Socket: "/nowhere/engine.sock", Bus: harness.NewBus(t)})
	s.LockUpdates(31, "web")
	s.Post("/v1/reboot", nil).Want(t, 423, refused("Lockfile exists for { appId: 31, service: web }"))
	s.UnlockUpdates(31, "web")
	s.Post("/v1/reboot", nil).Want(t, 202, granted)
	s.Bus.WaitAsked(t, "Reboot", 1)
}

// engine.md 5.6; cloud.md 6.6: a release that needs a reboot gets it when all else is done, under the
// locks, and not during an update of the host.
func TestReleaseRebootsTheDevice(t *testing.T) {
	r := newRig(t)
	file := r.LockUpdates(32, "main")
	r.WriteFile("state/rollback-altboot-breadcrumb", "")
	r.shop.Commit = "aaaa2"
	r.shop.Services[1] = r.shop.Services[1].Labelled("io.balena.update.requires-reboot", "1")
	r.PostTarget(r.target())
	says := func(text string) func() error {
		return func() error {
			for _, line := range r.LogLines("step did not succeed") {
				if line["error"] == text {
					return nil
				}
			}
			return fmt.Errorf("the reboot was not held up by %q", text)
		}
	}
	harness.Until(t, harness.Soon, "the update of the host to hold up the reboot", says("Waiting for Host OS update to finish"))
	os.Remove(r.Path("state/rollback-altboot-breadcrumb"))
	harness.Until(t, harness.Soon, "the lock to hold up the reboot", says("Lockfile exists for { appId: 32, service: main }"))
	if calls := r.Bus.Calls(); len(calls) != 0 {
		t.Fatalf("logind was asked for %v", calls)
	}
	if d := r.Device(); !d.UpdatePending || !d.UpdateFailed {
		t.Errorf("while the reboot is held up the device says %+v", d)
	}
	os.Remove(file)
	r.goesDown(t, "Reboot", 1)
	if c := r.Containers()["db"]; c.State.Status != "created" {
		t.Errorf("db is %s before the reboot", c.State.Status)
	}
}
