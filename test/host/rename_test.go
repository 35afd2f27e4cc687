package host_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// A changed name of the host replaces the services that carry it, at once and with that reason, however the name
// came: through the API, in config.json, or in the host's own /etc/hostname where config.json has none. Services
// with a name or a network of their own stay. An update lock holds the replacement back (docs/spec/engine.md 4.2).
func TestRenamedHostReplacesServicesWithItsName(t *testing.T) {
	h := newHost(t, harness.Setup{})
	image := harness.ServerImage("host/named:v1").Load(t)
	service := func(id int, name string) harness.Service {
		return harness.Service{ID: id, Name: name, ImageID: 1000 + id, Image: image.Name}.Setting("PORT", fmt.Sprint(8100+id))
	}
	h.Apply(harness.TargetOf(harness.App{ID: 31, UUID: "31", Name: "shop", Commit: "aaaa1", Release: 1, Services: []harness.Service{
		service(1, "kiosk").Composed("network_mode", "host"),
		service(2, "named").Composed("network_mode", "host").Composed("hostname", "own"),
		service(3, "bridged"),
	}}))
	before, last := h.IDs(), "testhost"
	is := func(name string) {
		t.Helper()
		harness.Until(t, harness.Soon, "the name "+name, func() error {
			kiosk := h.Containers()["kiosk"]
			if kiosk.Config.Hostname != name {
				return errors.New("it is " + kiosk.Config.Hostname)
			}
			return h.Settled()
		})
		reason := fmt.Sprintf("hostname: %q -> %q", last, name)
		found := false
		for _, step := range h.Steps() {
			found = found || strings.HasPrefix(step, "kill kiosk: ") && strings.Contains(step, reason)
		}
		if !found && last != name {
			t.Errorf("no step has the reason %s", reason)
		}
		if now := h.IDs(); now["named"] != before["named"] || now["bridged"] != before["bridged"] {
			t.Errorf("containers were %v, are %v", before, now)
		}
		last = name
	}
	is("testhost")
	h.set(`{"hostname":"h1"}`)
	is("h1")
	h.WriteFile("boot/config.json", strings.Replace(h.ReadFile("boot/config.json"), `"h1"`, `"h2"`, 1))
	is("h2")
	h.WriteFile("boot/config.json", strings.Replace(h.ReadFile("boot/config.json"), `"hostname":"h2"`, `"other":"h2"`, 1))
	is("testhost")
	h.WriteFile("root/etc/hostname", "h3\n")
	is("h3")
	h.LockUpdates(31, "kiosk")
	h.WriteFile("root/etc/hostname", "h4\n")
	harness.Until(t, harness.Soon, "the refusal", func() error {
		if page := h.Overview(); !strings.Contains(page, "Lockfile exists for { appId: 31, service: kiosk }") {
			return errors.New(page)
		}
		return nil
	})
	if now := h.Containers()["kiosk"]; now.Config.Hostname != "h3" || !now.State.Running {
		t.Errorf("under a lock it is %s, %s", now.Config.Hostname, now.State.Status)
	}
	h.UnlockUpdates(31, "kiosk")
	is("h4")
	h.Restart()
	h.WaitSettled(harness.Soon)
	if now := h.IDs(); now["kiosk"] == before["kiosk"] || h.Containers()["kiosk"].Config.Hostname != "h4" {
		t.Errorf("after a restart: %v", now)
	}
}
