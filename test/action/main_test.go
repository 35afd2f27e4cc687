// Package action_test proves what the device API does to the whole device, and what comes of requests
// that meet one another or a lock: on a real engine and a real message bus.
package action_test

import (
	"fmt"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	granted = `{"Data":"OK","Error":""}`
	leaving = "the device is about to reboot or shut down"
)

func refused(text string) string { return fmt.Sprintf(`{"Data":"","Error":%q}`, text) }

// rig is a device on a real engine and a real message bus: app 31 "shop" with the services web and db
// and a volume of web, app 32 "solo" with the service main.
type rig struct {
	*harness.Supervisor
	shop, solo harness.App
}

func newRig(t *testing.T) *rig {
	t.Helper()
	image := harness.ServerImage("action/app:v1").Load(t)
	r := &rig{Supervisor: harness.NewSupervisor(t, harness.Setup{WithProxy: true, Bus: harness.NewBus(t)})}
	r.shop, r.solo = harness.ShopAndSolo(image)
	r.Start()
	r.Apply(r.target())
	return r
}

func (r *rig) target() harness.Target { return harness.TargetOf(r.shop, r.solo) }
