package remote_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// device-api.md 51, 56; 3.4: an update is a poll, and many at once are few polls and one apply.
func TestUpdatePolls(t *testing.T) {
	m := newManaged(t)
	before := m.polls()
	m.Post("/v1/update", nil).Want(t, 204, "")
	harness.Until(t, harness.Soon, "the poll", func() error {
		if n := m.polls(); n != before+1 {
			return fmt.Errorf("%d polls", n-before)
		}
		return nil
	})

	m.shop.Services[1] = m.shop.Services[1].Setting("NEW", "1")
	m.shop.Commit, m.shop.Release = "aaaa2", 21
	m.Assign(m.target())
	ids, polled := m.IDs(), m.polls()
	created := m.Engine.Record(t)
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			a := m.Call(harness.Request{Method: "POST", Path: "/v1/update?apikey=" + m.Key(), NoKey: true,
				Header: map[string]string{"Connection": "close"}})
			if a.Status != 204 {
				t.Errorf("update: %d %s", a.Status, a.Body)
			}
		})
	}
	group.Wait()
	m.WaitSettled(harness.Soon)
	if n := m.polls() - polled; n < 1 || n > 20 {
		t.Errorf("100 updates at once made %d polls", n)
	}
	if n := len(created.Events("container", "create")); n != 1 {
		t.Errorf("%d containers were made, want 1", n)
	}
	now := m.IDs()
	if now["db"] == ids["db"] || now["web"] != ids["web"] || now["main"] != ids["main"] {
		t.Errorf("containers are %v, were %v", now, ids)
	}
}

// device-api.md 52: with instant updates off only a forced update polls.
func TestUpdateWithoutInstantUpdates(t *testing.T) {
	m := newManaged(t)
	m.config["SUPERVISOR_INSTANT_UPDATE_TRIGGER"] = "0"
	m.update(t, nil)
	harness.Until(t, harness.Soon, "the setting", func() error {
		if a := m.Post("/v1/update", nil); a.Status != 202 || a.Body != "Accepted" {
			return fmt.Errorf("%d %s", a.Status, a.Body)
		}
		return nil
	})
	m.WaitSettled(harness.Soon)
	before := m.polls()
	m.Post("/v1/update", map[string]any{"cancel": true}).Want(t, 202, "Accepted")
	m.Post("/v1/update", map[string]any{"force": true}).Want(t, 204, "")
	harness.Until(t, harness.Soon, "the forced poll", func() error {
		if n := m.polls() - before; n != 1 {
			return fmt.Errorf("%d polls", n)
		}
		return nil
	})
}

// device-api.md 53, 6: without its cloud a device answers, and is unhealthy once that is known.
func TestUpdateWithoutTheCloud(t *testing.T) {
	m := newManaged(t)
	m.Cloud().Down()
	for _, body := range []any{nil, map[string]any{"force": true}, map[string]any{"force": true, "cancel": true}} {
		m.Post("/v1/update", body).Want(t, 204, "")
	}
	harness.Until(t, harness.Soon, "the check of health to fail", func() error {
		a := m.CallAs("", "GET", "/v1/healthy", nil)
		if a.Status != 500 || a.Body != "Unhealthy" {
			return fmt.Errorf("%d %s", a.Status, a.Body)
		}
		return nil
	})
	m.CallAs("", "GET", "/ping", nil).Want(t, 200, "OK")
	if a := m.Get("/v1/device"); a.Status != 200 {
		t.Errorf("reads without a cloud: %d", a.Status)
	}
}

// device-api.md 54, 102, 112 (A2): a lock holds a release up, the flags say so, and a forced update
// takes effect although the target has not changed since.
func TestForcedUpdateOverridesALock(t *testing.T) {
	m := newManaged(t)
	file := m.LockUpdates(31, "db")
	before := m.IDs()
	m.shop.Services[1] = m.shop.Services[1].Setting("NEW", "1")
	m.shop.Commit = "aaaa2"
	m.update(t, nil)
	harness.Until(t, harness.Soon, "the update to fail on the lock", func() error {
		if d := m.Device(); !d.UpdateFailed || !d.UpdatePending {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	for name, id := range m.IDs() {
		if before[name] != id {
			t.Errorf("%s was touched under the lock", name)
		}
	}
	if a := m.Get("/v2/state/status"); !strings.Contains(a.Body, `"appState":"applying"`) {
		t.Errorf("under a lock the state is %s", a.Body)
	}
	m.Post("/v1/update", map[string]any{"force": true}).Want(t, 204, "")
	harness.Until(t, 10*time.Second, "the forced release", m.Settled)
	if harness.Exists(file) {
		t.Error("the lock is still there")
	}
	calls := m.Cloud().Calls(fakecloud.State)
	if last := calls[len(calls)-1]; last.Status != 304 {
		t.Errorf("the cloud answered %d, so this proves nothing", last.Status)
	}
	if d := m.Device(); d.UpdateFailed || d.UpdatePending || d.UpdateDownloaded || d.Commit != "aaaa2" {
		t.Errorf("in the end the device says %+v", d)
	}
}

// device-api.md 55; issue: a changed target cancels the download of the one before.
func TestNewTargetCancelsADownload(t *testing.T) {
	m := newManaged(t)
	registry := harness.SharedRegistry(t)
	slow := registry.Slow(t, 100_000)
	old := slow.Of(registry.Push(t, harness.ServerImage("remote/slow:v2").WithBlob(8_000_000)))
	fresh := registry.Push(t, harness.ServerImage("remote/quick:v3"))
	m.solo.Commit, m.solo.Release = "bbbb2", 22
	m.solo.Services = []harness.Service{m.solo.Services[0].Using(old.Name, 2003)}
	m.update(t, nil)
	harness.Until(t, harness.Soon, "the download", func() error {
		if d := m.Device(); d.Status != "Downloading" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	m.solo.Commit, m.solo.Release = "bbbb3", 23
	m.solo.Services = []harness.Service{m.solo.Services[0].Using(fresh.Name, 3003)}
	m.update(t, map[string]any{"cancel": true})
	m.WaitSettled(harness.Soon)
	if c := m.Containers()["main"]; !strings.HasSuffix(c.Name, "bbbb3") {
		t.Errorf("main is %s", c.Name)
	}
}
