package update_test

import (
	"fmt"
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
)

// docs/spec/engine.md 10: 25, 48: a service in another one's network follows it.
func TestServiceInTheNetworkOfAnotherFollowsIt(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("network/app:v1").Load(t)
	base := image.Service("base", 1)
	guest := image.Service("guest", 2).Composed("network_mode", "service:base").Setting("PORT", "8081")
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, base, guest)))
	before := s.Containers()
	if want := "container:" + before["base"].ID; before["guest"].HostConfig.NetworkMode != want {
		t.Errorf("network mode %q, want %q", before["guest"].HostConfig.NetworkMode, want)
	}
	// base reaches guest on its loopback, as soon as the program of guest listens.
	harness.MustAsk(t, before["base"], http.MethodGet, "/fetch?url=http://127.0.0.1:8081/version", "")
	s.Restart()
	s.WaitSettled(harness.Soon)
	sameIDs(t, s, map[string]string{"base": before["base"].ID, "guest": before["guest"].ID})
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, base.Setting("MODE", "new"), guest)))
	now := s.Containers()
	if now["guest"].ID == before["guest"].ID || now["guest"].HostConfig.NetworkMode != "container:"+now["base"].ID {
		t.Errorf("guest kept network mode %q, base is %s", now["guest"].HostConfig.NetworkMode, now["base"].ID)
	}
}

// docs/spec/engine.md 10: 23, 36.
func TestHostModeAppGetsNoBridge(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("network/app:v1").Load(t)
	host := image.Service("web", 1).Composed("network_mode", "host").Setting("PORT", "8099").
		Labelled("io.balena.features.supervisor-api", "1")
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, host)))
	web := s.Containers()["web"]
	if got := web.Env("BALENA_SUPERVISOR_HOST"); got != "127.0.0.1" {
		t.Errorf("supervisor host is %q", got)
	}
	if network, found := s.Engine.Network(t, "31_default"); !found || !network.ConfigOnly {
		t.Errorf("the default network of a host mode app reads %+v", network)
	}
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, host, image.Service("plain", 2))))
	if network, _ := s.Engine.Network(t, "31_default"); network.ConfigOnly || network.Driver != "bridge" {
		t.Errorf("the default network with a bridge service reads %+v", network)
	}
	if s.IDs()["web"] != web.ID {
		t.Error("the host mode service was recreated for a network it does not use")
	}
}

// docs/spec/engine.md 10: 37, 38.
func TestNetworkChangesRecreateItsUsersOnly(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("network/app:v1").Load(t)
	back := image.Service("back", 1).Composed("networks", []any{"inner"})
	first := harness.Shop("aaaa1", 1, back, image.Service("front", 2))
	first.Networks = map[string]any{"inner": map[string]any{}}
	s.Apply(harness.TargetOf(first))
	before := s.IDs()

	subnet := first.Released("bbbb2", 2)
	subnet.Networks = map[string]any{"inner": map[string]any{"ipam": map[string]any{"config": []any{map[string]any{"subnet": "10.78.0.0/24"}}}}}
	s.Apply(harness.TargetOf(subnet))
	if network, _ := s.Engine.Network(t, "31_inner"); len(network.IPAM.Config) != 1 || network.IPAM.Config[0].Subnet != "10.78.0.0/24" {
		t.Errorf("inner reads %+v", network)
	}
	now := s.IDs()
	if now["back"] == before["back"] || now["front"] != before["front"] {
		t.Errorf("containers were %v, are %v", before, now)
	}

	twin := map[string]any{"Name": "31_default", "Driver": "bridge", "CheckDuplicate": false,
		"Labels": map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "31"}}
	s.Engine.Must(t, http.MethodPost, "/networks/create", twin, nil)
	s.Apply(harness.TargetOf(subnet.Released("cccc3", 3)))
	harness.Until(t, harness.Soon, "one network of the name", func() error {
		n := 0
		for _, network := range s.Engine.Networks(t) {
			if network.Name == "31_default" {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d networks", n)
		}
		return nil
	})
	s.WaitSettled(harness.Soon)
}

// docs/spec/engine.md 4.2: a network stays although the engine adds a pool of the other address family,
// or spells addresses in its own way.
func TestNetworkThatTheEngineSpellsOtherwise(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	pool := func(pairs ...string) map[string]any {
		p := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			p[pairs[i]] = pairs[i+1]
		}
		return p
	}
	network := func(six bool, pools ...any) map[string]any {
		return map[string]any{"enable_ipv6": six, "ipam": map[string]any{"config": pools}}
	}
	web := harness.ServerImage("network/app:v1").Load(t).Service("web", 1).Composed("networks", map[string]any{
		"six": nil, "long": map[string]any{"ipv6_address": "fd00:0:0:51:0:0:0:10"}, "bits": nil, "both": nil})
	app := harness.Shop("aaaa1", 1, web)
	app.Networks = map[string]any{
		"six":  network(true, pool("subnet", "fcc7:b4f4:59f2:9971::/64")),
		"long": network(true, pool("subnet", "FD00:0:0:51:0::/64", "gateway", "fd00:0:0:51:0:0:0:1")),
		"bits": network(false, pool("subnet", "10.88.50.7/24", "ip_range", "10.88.50.200/25", "gateway", "10.88.50.1")),
		"both": network(true, pool("subnet", "fd00:0:0:052::/64"), pool("subnet", "10.88.51.0/24")),
	}
	s.Apply(harness.TargetOf(app))
	before := s.IDs()
	s.PostTarget(harness.TargetOf(app))
	s.WaitSettled(harness.Soon)
	s.Restart()
	s.WaitSettled(harness.Soon)
	sameIDs(t, s, before)
	counts := s.Proxy.Counts()
	if made, gone := counts["POST /networks/create"], counts["DELETE /networks/{id}"]; made != len(app.Networks)+2 || gone != 0 {
		t.Errorf("%d networks were made and %d removed, want %d beside the default one and supervisor0", made, gone, len(app.Networks))
	}

	app.Networks["both"] = network(true, pool("subnet", "fd00:0:0:53::/64"), pool("subnet", "10.88.51.0/24"))
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2)))
	if made := s.Proxy.Counts()["POST /networks/create"]; made != counts["POST /networks/create"]+1 {
		t.Errorf("%d networks were made for another subnet of one", made-counts["POST /networks/create"])
	}
}
