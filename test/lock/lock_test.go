package lock_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// engine.md 70: a file, directory or dangling link, made by a container, blocks the whole app.
// engine.md 71: the same with the other name.
// engine.md 74: of several locks none is held when one cannot be taken.
func TestAnythingOfEitherNameIsALock(t *testing.T) {
	h := newHouse(t)
	before := h.IDs()
	kinds := map[string]func(path string){
		"file":      h.put,
		"directory": func(path string) { harness.Must(h.t, os.Mkdir(path, 0o755)) },
		"link":      func(path string) { harness.Must(h.t, os.Symlink("/nowhere", path)) },
		"a file that another process holds": func(path string) {
			f, err := os.Create(path)
			harness.Must(h.t, err)
			harness.Must(h.t, f.Chown(1000, 1000))
			harness.Must(h.t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
			t.Cleanup(func() { f.Close() })
		},
		"a file of a container": func(path string) {
			harness.MustAsk(t, h.Containers()["db"], http.MethodPut, "/file?path=/tmp/balena/"+filepath.Base(path), "")
		},
	}
	for kind, make := range kinds {
		for _, name := range lockNames {
			t.Run(kind+" "+name, func(t *testing.T) {
				h.t = t
				path := h.path("db", name)
				make(path)
				h.Post("/v2/applications/31/restart-service", dict{"serviceName": "web"}).Want(t, 423,
					`{"status":"failed","message":"Lockfile exists for { appId: 31, service: db }"}`)
				h.Post("/v1/restart", dict{"appId": 31}).Want(t, 423,
					`{"status":"failed","message":"Lockfile exists for { appId: 31, service: db }"}`)
				h.untouched(before)
				if held := h.owners(31); len(held) != 1 {
					t.Errorf("locks: %q, want the user's alone", held)
				}
				harness.Must(h.t, os.Remove(path))
			})
		}
	}
}

// engine.md 70: the update is held back as a whole, is retried, and goes on as soon as the lock goes,
// which wakes it: long before the next attempt is due.
// engine.md 78: the lock of one app does not hold back another.
func TestReleasedLockWakesTheWaitingUpdate(t *testing.T) {
	h := newHouse(t)
	before := h.IDs()
	lock := h.path("db", "updates.lock")
	h.put(lock)
	renewed := h.other.Released("gggg2", 6).With(h.other.Services[0].Setting("MODE", "new"))
	h.PostTarget(harness.TargetOf(h.next(), renewed))
	harness.Until(t, harness.Soon, "the update of the other app", func() error {
		c, err := h.Engine.Container("ok_1007_6_gggg2")
		if err == nil && !c.State.Running {
			err = errors.New(c.State.Status)
		}
		return err
	})
	// The next attempt must be far enough away to tell it from a wake-up.
	var due time.Time
	for n := 4; time.Until(due) < 4*time.Second; n++ {
		h.refused(n)
		due = h.Status().NextAttempt
	}
	if !h.Device().UpdateDownloaded {
		t.Error("device-api.md 102, 2.11: images that were on the device do not count as downloaded")
	}
	before["ok"] = h.IDs()["ok"]
	h.untouched(before)
	// The lock of web, which is to be replaced, holds it back as well: the app is locked together.
	events := h.Engine.Record(t)
	harness.Must(h.t, os.Remove(lock))
	harness.Until(t, harness.Soon, "the end of the old container", func() error {
		if len(events.Of("kill", "web")) == 0 {
			return errors.New("no kill")
		}
		return nil
	})
	if early := due.Sub(time.Unix(0, events.Of("kill", "web")[0].TimeNano)); early < 0 {
		t.Errorf("the update went on %v after the time of the next attempt, the lock did not wake it", -early)
	}
	h.WaitSettled(harness.Soon)
	if now := h.IDs(); now["db"] != before["db"] || now["web"] == before["web"] {
		t.Error("exactly web should have been replaced")
	}
}

// engine.md 72: force, or the configuration variable, removes the lock and goes on.
func TestForceAndOverride(t *testing.T) {
	h := newHouse(t)
	release := 1
	f := func(name string, config map[string]string, go_on func()) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.shop.Commit, h.shop.Release = fmt.Sprintf("aaaa%d", release), 10*release
			h.Apply(harness.TargetOf(h.shop, h.other))
			locks := []string{h.path("db", "updates.lock"), h.path("web", "resin-updates.lock")}
			h.put(locks[0])
			harness.Must(h.t, os.Mkdir(locks[1], 0o755))
			release++
			h.shop = h.shop.Released(fmt.Sprintf("aaaa%d", release), 10*release).With(h.shop.Services[0].Setting("MODE", name), h.shop.Services[1])
			h.PostTarget(harness.Target{Config: config, Apps: []harness.App{h.shop, h.other}})
			go_on()
			h.WaitSettled(harness.Soon)
			for _, path := range locks {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("%s is still there", path)
				}
			}
		})
	}
	f("force", nil, func() { h.refused(1); h.Post("/v1/update", dict{"force": true}).Want(t, 204, "") })
	for _, variable := range []string{"SUPERVISOR_OVERRIDE_LOCK", "RESIN_SUPERVISOR_OVERRIDE_LOCK", "BALENA_SUPERVISOR_OVERRIDE_LOCK", "RESIN_OVERRIDE_LOCK", "BALENA_OVERRIDE_LOCK"} {
		f(variable, map[string]string{variable: "1"}, func() {})
	}
	// The override is over with its configuration: locks count again.
	h.t = t
	h.Apply(harness.TargetOf(h.shop, h.other))
	h.put(h.path("db", "updates.lock"))
	h.Post("/v1/restart", dict{"appId": 31}).Want(t, 423, `{"status":"failed","message":"Lockfile exists for { appId: 31, service: db }"}`)
}

// engine.md 73: the supervisor's locks belong to nobody, are held for all services of the app, also one
// that is new, from the first change until the app is settled, and for no other app.
// engine.md 45: what is new starts under them and sees them until then (docs/spec/engine.md 7).
func TestSupervisorHoldsAllLocksOfAnAppUntilItIsSettled(t *testing.T) {
	h := newHouse(t)
	renewed := h.next()
	renewed.Services = append(renewed.Services, h.image.Service("fresh", 3))
	h.Proxy.Spoil("POST /containers/{id}/stop", harness.Hang, 0, 1)
	h.PostTarget(harness.TargetOf(renewed, h.other))
	harness.Until(t, harness.Soon, "the new service", func() error {
		c, err := h.Engine.Container("fresh_1003_2_bbbb2")
		if err == nil && !c.State.Running {
			err = errors.New(c.State.Status)
		}
		return err
	})
	if held, want := h.owners(31), ours("db", "fresh", "web"); !slices.Equal(held, want) {
		t.Errorf("locks %q, want %q", held, want)
	}
	if held := h.owners(32); len(held) != 0 {
		t.Errorf("locks of the other app: %q", held)
	}
	fresh, err := h.Engine.Container("fresh_1003_2_bbbb2")
	harness.Must(h.t, err)
	for _, dir := range []string{"balena", "resin"} {
		for _, name := range lockNames {
			harness.MustAsk(t, fresh, http.MethodGet, "/file?path=/tmp/"+dir+"/"+name, "")
		}
	}
	// Nobody else works on the app meanwhile.
	h.Post("/v2/applications/31/stop-service", dict{"serviceName": "db"}).Want(t, 423,
		`{"status":"failed","message":"Locks for app 31 are being held by another supervisor operation"}`)
	h.Proxy.Heal()
	h.WaitSettled(harness.Soon)
	h.waitFree(31)
}

// engine.md 75: what the supervisor left behind when it was killed is used again and removed at the
// end; a user's lock stays.
func TestLocksOfAKilledSupervisor(t *testing.T) {
	h := newHouse(t)
	const stop = "POST /containers/{id}/stop"
	h.Proxy.Spoil(stop, harness.Hang, 0, 1)
	h.PostTarget(harness.TargetOf(h.next(), h.other))
	h.Proxy.WaitCalls(t, harness.Soon, stop, 1)
	h.Kill()
	if held, want := h.owners(31), ours("db", "web"); !slices.Equal(held, want) {
		t.Fatalf("left %q, want %q", held, want)
	}
	stray := h.LockDir(32, "ok")
	for _, name := range []string{"updates.lock", ".left.updates.lock"} { // of an app that has nothing to do
		h.put(filepath.Join(stray, name))
		harness.Must(h.t, os.Chown(filepath.Join(stray, name), nobody, nobody))
	}
	user := filepath.Join(stray, "resin-updates.lock")
	h.put(user)
	h.Proxy.Heal()
	h.Start()
	h.WaitSettled(harness.Soon)
	h.waitFree(31)
	harness.Until(t, harness.Soon, "the end of what was left", func() error {
		if held := h.owners(32); !slices.Equal(held, []string{"ok/resin-updates.lock:0"}) {
			return fmt.Errorf("%q", held)
		}
		return nil
	})
}

// engine.md 79: the images are downloaded while the app is locked, and kept until it is not.
func TestDownloadsGoOnUnderALock(t *testing.T) {
	h := newHouse(t)
	before := h.IDs()
	fresh := harness.SharedRegistry(t).Push(t, harness.ServerImage("lock/fresh:v2").WithBlob(10_000))
	lock := h.path("web", "resin-updates.lock")
	h.put(lock)
	renewed := h.shop.Released("bbbb2", 2).With(h.shop.Services[0].Using(fresh.Name, 2001), h.shop.Services[1])
	h.PostTarget(harness.TargetOf(renewed, h.other))
	h.refused(2)
	if h.Engine.ImageID(t, fresh.Name) == "" || !h.Device().UpdateDownloaded {
		t.Error("the image is not there")
	}
	h.untouched(before)
	// A lock of a service that is about to leave holds the app too.
	h.PostTarget(harness.TargetOf(h.shop.Released("cccc3", 3).With(h.shop.Services[1]), h.other))
	h.refused(3)
	h.untouched(before)
	harness.Must(h.t, os.Remove(lock))
	h.WaitSettled(harness.Soon)
	if now := h.IDs(); now["web"] != "" || now["db"] != before["db"] {
		t.Errorf("containers %v", now)
	}
}

// Leaving the target needs the lock as well (docs/spec/engine.md 5.7).
func TestLockHoldsBackTheRemovalOfAnApp(t *testing.T) {
	h := newHouse(t)
	before := h.IDs()
	lock := h.path("web", "updates.lock")
	h.put(lock)
	h.PostTarget(harness.TargetOf(h.other))
	h.refused(2)
	h.untouched(before)
	harness.Must(h.t, os.Remove(lock))
	h.WaitSettled(harness.Soon)
	h.waitFree(31)
}
