package compose

import (
	"maps"
	"strings"

	"resin-supervisor/update/engine/doc"
)

// CompareNetwork lists the differences between a target network and one of the engine (docs/spec/engine.md
// 3.2). Of supervisor0 only its bridge and its first subnet and gateway count (docs/spec/engine.md 3.3).
func CompareNetwork(want, have *Network) []Difference {
	w, h := &want.Doc, &have.Doc
	if want.Name == SupervisorNetworkName {
		return compareSupervisorNetwork(w, h)
	}
	var out []Difference
	if w.Driver != h.Driver && !w.ConfigOnly { // the engine calls the driver of config-only ones null
		out = append(out, differ("driver", h.Driver, w.Driver))
	}
	if w.EnableIPv6 != h.EnableIPv6 {
		out = append(out, differ("enable_ipv6", h.EnableIPv6, w.EnableIPv6))
	}
	if w.Internal != h.Internal {
		out = append(out, differ("internal", h.Internal, w.Internal))
	}
	if w.ConfigOnly != h.ConfigOnly {
		out = append(out, differ("config_only", h.ConfigOnly, w.ConfigOnly))
	}
	out = append(out, compareIPAM(&w.IPAM, &h.IPAM)...)
	out = append(out, compareMaps("driver_opts ", h.Options, w.Options)...)
	return append(out, compareMaps("label ", withoutSupervised(h.Labels), withoutSupervised(w.Labels))...)
}

func compareSupervisorNetwork(w, h *doc.NetworkCreate) []Difference {
	first := func(d *doc.NetworkCreate) (p doc.IPAMPool) {
		if len(d.IPAM.Config) > 0 {
			p = d.IPAM.Config[0]
		}
		return p
	}
	wp, hp := first(w), first(h)
	var out []Difference
	for _, f := range [...]struct{ name, have, want string }{
		{"bridge", h.Options[bridgeNameOption], w.Options[bridgeNameOption]},
		{"subnet", hp.Subnet, wp.Subnet},
		{"gateway", hp.Gateway, wp.Gateway},
	} {
		if f.have != f.want {
			out = append(out, differ(f.name, f.have, f.want))
		}
	}
	return out
}

// compareIPAM compares address pools only when the target has some. Else the engine chooses one.
func compareIPAM(want, have *doc.IPAM) []Difference {
	var out []Difference
	if want.Driver != have.Driver {
		out = append(out, differ("ipam.driver", have.Driver, want.Driver))
	}
	out = append(out, compareMaps("ipam.options ", have.Options, want.Options)...)
	if len(want.Config) > 0 && !samePools(want.Config, have.Config) {
		out = append(out, differ("ipam.config", have.Config, want.Config))
	}
	return out
}

// samePools looks for each pool of the target among the engine's pools. Additional pools count only in an address
// family of the target: the engine chooses a pool for the other family itself (docs/spec/engine.md 4.2).
func samePools(want, have []doc.IPAMPool) bool {
	var named [2]bool // IPv4, IPv6
	for i := range want {
		named[family(&want[i])] = true
		if !hasPool(have, &want[i], samePool) {
			return false
		}
	}
	for i := range have {
		if named[family(&have[i])] && !hasPool(want, &have[i], func(h, w *doc.IPAMPool) bool { return samePool(w, h) }) {
			return false
		}
	}
	return true
}

func hasPool(list []doc.IPAMPool, p *doc.IPAMPool, same func(p, other *doc.IPAMPool) bool) bool {
	for i := range list {
		if same(p, &list[i]) {
			return true
		}
	}
	return false
}

func family(p *doc.IPAMPool) int {
	if strings.Contains(p.Subnet+p.Gateway, ":") {
		return 1
	}
	return 0
}

// samePool compares two pools. A subnet or gateway that the target leaves out is the engine's choice.
func samePool(want, have *doc.IPAMPool) bool {
	return (want.Subnet == have.Subnet || want.Subnet == "") && want.IPRange == have.IPRange &&
		(want.Gateway == have.Gateway || want.Gateway == "") &&
		maps.Equal(want.AuxiliaryAddresses, have.AuxiliaryAddresses)
}

func withoutSupervised(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	delete(out, labelSupervised)
	return out
}

// CompareVolume lists the differences between a target volume and one of the engine (docs/spec/engine.md
// 3.1). A difference costs the data of the volume. So the labels of its owner do not count, and no label counts when the
// volume has none at all.
func CompareVolume(want, have *Volume) []Difference {
	w, h := &want.Doc, &have.Doc
	var out []Difference
	if w.Driver != h.Driver {
		out = append(out, differ("driver", h.Driver, w.Driver))
	}
	out = append(out, compareMaps("driver_opts ", h.DriverOpts, w.DriverOpts)...)
	if len(h.Labels) == 0 {
		return out
	}
	return append(out, compareMaps("label ", withoutOwner(h.Labels), withoutOwner(w.Labels))...)
}

func withoutOwner(labels map[string]string) map[string]string {
	out := withoutSupervised(labels)
	delete(out, labelAppID)
	delete(out, labelAppUUID)
	return out
}
