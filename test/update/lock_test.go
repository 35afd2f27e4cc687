package update_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/engine.md 10: 70, 71, 78, 79.
func TestUserLockHoldsTheUpdateBackUntilItGoes(t *testing.T) {
	for _, file := range []string{"updates.lock", "resin-updates.lock"} {
		t.Run(file, func(t *testing.T) { lockedUpdate(t, file) })
	}
}

func lockedUpdate(t *testing.T, file string) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	image := harness.ServerImage("lock/app:v1").Load(t)
	next := registry.Push(t, harness.ServerImage("lock/next:v2").WithBlob(10_000))
	s.Engine.RemoveImage(t, next.Name)
	first, beside := harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2)), other("good1", 5, image.Service("ok", 7))
	s.Apply(harness.TargetOf(first, beside))
	before := s.IDs()
	lock := filepath.Join(s.LockDir(31, "db"), file)
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}

	changed := first.Released("bbbb2", 2).With(first.Services[0].Using(next.Name, 2001), first.Services[1])
	s.PostTarget(harness.TargetOf(changed, beside.Released("good2", 6).With(beside.Services[0].Setting("MODE", "new"))))
	harness.Until(t, harness.Soon, "the download under the lock, and the refusal to show", func() error {
		if d := s.Device(); s.Engine.ImageID(t, next.Name) == "" || !d.UpdateFailed || !d.UpdatePending || !d.UpdateDownloaded {
			return fmt.Errorf("device says %+v", d)
		}
		return nil
	})
	harness.Until(t, harness.Soon, "the other app's update", func() error { return s.Engine.Running("ok_1007_6_good2") })
	now := s.Containers()
	if now["web"].ID != before["web"] || now["db"].ID != before["db"] || now["web"].Name != "web_1001_1_aaaa1" {
		t.Error("the locked app was touched")
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	// The end of the lock is an event; the update must not wait for a long back-off.
	s.WaitSettled(10 * time.Second)
	if s.IDs()["db"] != before["db"] || s.IDs()["web"] == before["web"] {
		t.Error("after the lock exactly web should have been replaced")
	}
}

// docs/spec/engine.md 10: 72.
func TestForceAndOverrideRemoveAUserLock(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("lock/app:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(first))
	lock := s.LockUpdates(31, "web")
	forced := harness.TargetOf(first.Released("bbbb2", 2).With(first.Services[0].Setting("MODE", "new")))
	forced.Config = map[string]string{"SUPERVISOR_OVERRIDE_LOCK": "1"}
	s.Apply(forced)
	if _, err := os.Lstat(lock); err == nil {
		t.Error("the lock is still there")
	}
}

// docs/spec/engine.md 10: 73.
func TestSupervisorHoldsItsOwnLocksDuringAnUpdateOnly(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("lock/app:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2))
	s.Apply(harness.TargetOf(first))
	const stop = "POST /containers/{id}/stop"
	s.Proxy.Spoil(stop, harness.Hang, 0, 1)
	s.PostTarget(harness.TargetOf(first.Released("bbbb2", 2).With(first.Services[0].Setting("MODE", "new"), first.Services[1])))
	s.Proxy.WaitCalls(t, harness.Soon, stop, 1)
	for _, name := range []string{"web", "db"} {
		for _, file := range []string{"updates.lock", "resin-updates.lock"} {
			var info syscall.Stat_t
			if err := syscall.Lstat(filepath.Join(s.LockDir(31, name), file), &info); err != nil || info.Uid != 65534 {
				t.Errorf("%s of %s during the update: owner %d, %v", file, name, info.Uid, err)
			}
		}
	}
	s.Proxy.Heal()
	s.WaitSettled(harness.Soon)
	harness.Until(t, harness.Soon, "the end of all locks", func() error {
		left, err := filepath.Glob(s.LockDir(31, "*") + "/*.lock")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left: %q", left)
		}
		return err
	})
}
