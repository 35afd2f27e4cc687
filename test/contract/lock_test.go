package contract_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"resin-supervisor/test/harness"
)

const startCall = "POST /containers/{id}/start"

// stranded is a device on which the second release of the shop holds the app's locks and cannot start.
func stranded(t *testing.T) (h *house, lock string) {
	t.Helper()
	h = newHouse(t, harness.Setup{WithProxy: true, Bus: harness.NewBus(t)})
	h.Proxy.Spoil(startCall, harness.Fail, 0, -1)
	h.deliver(h.app.Released("bbbb2", 2).With(h.app.Services[0].Setting("NEW", "1")), func(dict) {})
	lock = filepath.Join(h.LockDir(31, "web"), "updates.lock")
	harness.Until(t, harness.Soon, "a release that cannot start", func() error {
		if len(h.LogLines("step did not succeed")) == 0 {
			return errors.New("no failure")
		}
		_, err := os.Lstat(lock)
		return err
	})
	return h, lock
}

// reboots fails the test unless a request for a reboot is granted and the host asked.
func (h *house) reboots() {
	h.t.Helper()
	h.Post("/v1/reboot", nil).Want(h.t, 202, `{"Data":"OK","Error":""}`)
	harness.Until(h.t, harness.Soon, "the reboot", func() error {
		if h.Bus.Asked("Reboot") == 0 {
			return errors.New("not asked for")
		}
		return nil
	})
}

// docs/spec/engine.md 5.3 (4), 7: a release that is rejected gives back the locks that the one before took, and the
// device can reboot.
func TestRejectedReleaseGivesTheLocksBack(t *testing.T) {
	for name, change := range map[string]func(dict){
		"contract": contract("web", requires(dict{"type": "sw.l4t"})),
		"definition": func(services dict) {
			services["web"].(dict)["composition"] = dict{"volumes": []any{"${CONFIG_DIR}/a:/config:rw"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, lock := stranded(t)
			h.deliver(h.app.Released("cccc3", 3), change)
			harness.Until(t, harness.Soon, "the end of the lock", func() error {
				if _, err := os.Lstat(lock); !errors.Is(err, os.ErrNotExist) {
					return errors.New("the lock file stays")
				}
				return nil
			})
			h.reboots()
		})
	}
}

// The same while an image of the next release cannot be pulled.
func TestMissingImageGivesTheLocksBack(t *testing.T) {
	h, lock := stranded(t)
	h.deliver(h.app.Released("cccc3", 3).With(h.app.Services[0].Using("127.0.0.1:9/none:v1", 1009)), func(dict) {})
	harness.Until(t, harness.Soon, "the end of the lock", func() error {
		if _, err := os.Lstat(lock); !errors.Is(err, os.ErrNotExist) {
			return errors.New("the lock file stays")
		}
		return nil
	})
	h.reboots()
}
