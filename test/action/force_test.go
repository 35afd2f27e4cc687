package action_test

import (
	"errors"
	"path/filepath"
	"testing"

	"resin-supervisor/test/harness"
)

const startCall = "POST /containers/{id}/start"

// docs/spec/device-api.md 1.10: the claim that the update keeps while its steps wait for another attempt holds
// actions up, unless they have force. What force does waits for a step that works under the claim.
func TestForceWhileAnUpdateKeepsItsLocks(t *testing.T) {
	r := newRig(t)
	r.Proxy.Spoil(startCall, harness.Fail, 0, -1)
	r.PostTarget(r.release(2))
	harness.Until(t, harness.Soon, "a release that cannot start", func() error {
		if len(r.LogLines("step did not succeed")) == 0 || !harness.Exists(filepath.Join(r.LockDir(31, "web"), "updates.lock")) {
			return errors.New("no failure")
		}
		return nil
	})
	const held = "Locks for app 31 are being held by another supervisor operation"
	r.Post("/v1/reboot", nil).Want(t, 423, refused(held))
	r.Post("/v2/applications/31/stop-service", map[string]any{"serviceName": "db", "force": true}).Want(t, 200, "OK")
	if r.Containers()["db"].State.Running {
		t.Error("db runs on")
	}
	r.Proxy.Heal()
	r.WaitSettled(harness.Soon)

	stops := len(r.Proxy.Times(stopCall))
	r.Proxy.Spoil(stopCall, harness.Hang, 0, 1)
	r.PostTarget(r.release(3))
	r.stops(t, stops, 1)
	reboot := r.later("/v1/reboot", map[string]any{"force": true})
	waits(t, reboot)
	r.Proxy.Heal()
	a := <-reboot
	a.Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
}
