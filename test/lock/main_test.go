// Package lock_test proves that update locks hold: those of users against the supervisor, and the
// supervisor's own, with the built binary and a real engine (docs/spec/engine.md 7).
package lock_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type dict = map[string]any

// nobody owns the supervisor's lock files.
const nobody = 65534

var lockNames = []string{"updates.lock", "resin-updates.lock"}

// house is a device with two apps applied: shop with web and db, other with ok.
type house struct {
	*harness.Supervisor
	t     *testing.T
	image harness.Image
	shop  harness.App
	other harness.App
}

func newHouse(t *testing.T) *house {
	t.Helper()
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("lock/app:v1").Load(t)
	h := &house{Supervisor: s, t: t, image: image,
		shop:  harness.App{ID: 31, UUID: "31", Name: "shop", Commit: "aaaa1", Release: 1, Services: []harness.Service{image.Service("web", 1), image.Service("db", 2)}},
		other: harness.App{ID: 32, UUID: "32", Name: "other", Commit: "gggg1", Release: 5, Services: []harness.Service{image.Service("ok", 7)}},
	}
	s.Apply(harness.TargetOf(h.shop, h.other))
	return h
}

// next is the next release of shop, in which web differs.
func (h *house) next() harness.App {
	return h.shop.Released("bbbb2", 2).With(h.shop.Services[0].Setting("MODE", "new"), h.shop.Services[1])
}

// path is a lock file of a service of shop.
func (h *house) path(service, name string) string { return filepath.Join(h.LockDir(31, service), name) }

// put makes a file as root on the host would.
func (h *house) put(path string) {
	h.t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// owners are the lock files of an app as service/name:owner.
func (h *house) owners(appID int) []string {
	h.t.Helper()
	paths, err := filepath.Glob(h.LockDir(appID, "*") + "/*updates.lock*")
	if err != nil {
		h.t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		var info syscall.Stat_t
		if err := syscall.Lstat(path, &info); err == nil {
			found = append(found, fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(path)), filepath.Base(path), info.Uid))
		}
	}
	slices.Sort(found)
	return found
}

// ours are all lock files of services when the supervisor holds them.
func ours(services ...string) []string {
	var all []string
	for _, s := range services {
		for _, name := range lockNames {
			all = append(all, fmt.Sprintf("%s/%s:%d", s, name, nobody))
		}
	}
	slices.Sort(all)
	return all
}

// refused waits until a lock kept the update back at least n times.
func (h *house) refused(n int) {
	h.t.Helper()
	harness.Until(h.t, harness.Soon, "refusals by the lock", func() error {
		seen := 0
		for _, line := range h.LogLines("step did not succeed") {
			if err, _ := line["error"].(string); line["step"] == "take lock" && strings.HasPrefix(err, "Lockfile exists for { appId: 31,") {
				seen++
			}
		}
		if d := h.Device(); seen < n || !d.UpdateFailed || !d.UpdatePending {
			return fmt.Errorf("%d refusals, update_failed %v", seen, d.UpdateFailed)
		}
		return nil
	})
}

// untouched fails the test unless the containers of shop are those of the first release.
func (h *house) untouched(before map[string]string) {
	h.t.Helper()
	for name, c := range h.Containers() {
		if c.ID != before[name] || !c.State.Running || c.AppID() == "31" && !strings.HasSuffix(c.Name, "_aaaa1") {
			h.t.Errorf("%s was touched: now %s, %s", name, c.Name, c.State.Status)
		}
	}
}

func (h *house) waitFree(appID int) {
	h.t.Helper()
	harness.Until(h.t, harness.Soon, "the end of all locks", func() error {
		if left := h.owners(appID); len(left) > 0 {
			return errors.New(strings.Join(left, " "))
		}
		return nil
	})
}
