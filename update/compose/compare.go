package compose

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// field is one field of the comparison of two containers (docs/spec/engine.md 4.2).
type field struct {
	name  string // as in a composition
	value func(d *doc.Create) any
}

// fields lists the fields that are compared as a whole. Environment, labels, networks, hostname and image have their
// own rules.
var fields = [...]field{
	{"command", func(d *doc.Create) any { return d.Cmd }},
	{"entrypoint", func(d *doc.Create) any { return d.Entrypoint }},
	{"tty", func(d *doc.Create) any { return d.Tty }},
	{"user", func(d *doc.Create) any { return d.User }},
	{"working_dir", func(d *doc.Create) any { return d.WorkingDir }},
	{"domainname", func(d *doc.Create) any { return d.Domainname }},
	{"stop_signal", func(d *doc.Create) any { return d.StopSignal }},
	{"stop_grace_period", func(d *doc.Create) any { return *d.StopTimeout }},
	{"healthcheck", func(d *doc.Create) any { return *d.Healthcheck }},
	{"ports", func(d *doc.Create) any { return d.HostConfig.PortBindings }},
	{"volumes (anonymous)", func(d *doc.Create) any { return sortedKeys(d.Volumes) }},
	{"volumes", func(d *doc.Create) any { return d.HostConfig.Binds }},
	{"volumes (mounts)", func(d *doc.Create) any { return d.HostConfig.Mounts }},
	{"tmpfs", func(d *doc.Create) any { return d.HostConfig.Tmpfs }},
	{"cap_add", func(d *doc.Create) any { return d.HostConfig.CapAdd }},
	{"cap_drop", func(d *doc.Create) any { return d.HostConfig.CapDrop }},
	{"cgroup_parent", func(d *doc.Create) any { return d.HostConfig.CgroupParent }},
	{"cpuset", func(d *doc.Create) any { return d.HostConfig.CpusetCpus }},
	{"cpu_shares", func(d *doc.Create) any { return d.HostConfig.CpuShares }},
	{"cpu_quota", func(d *doc.Create) any { return d.HostConfig.CpuQuota }},
	{"cpus", func(d *doc.Create) any { return d.HostConfig.NanoCpus }},
	{"mem_limit", func(d *doc.Create) any { return d.HostConfig.Memory }},
	{"mem_reservation", func(d *doc.Create) any { return d.HostConfig.MemoryReservation }},
	{"shm_size", func(d *doc.Create) any { return d.HostConfig.ShmSize }},
	{"oom_kill_disable", func(d *doc.Create) any { return d.HostConfig.OomKillDisable }},
	{"oom_score_adj", func(d *doc.Create) any { return d.HostConfig.OomScoreAdj }},
	{"pids_limit", func(d *doc.Create) any { return d.HostConfig.PidsLimit }},
	{"devices", func(d *doc.Create) any { return d.HostConfig.Devices }},
	{"gpu", func(d *doc.Create) any { return d.HostConfig.DeviceRequests }},
	{"dns", func(d *doc.Create) any { return d.HostConfig.Dns }},
	{"dns_search", func(d *doc.Create) any { return d.HostConfig.DnsSearch }},
	{"dns_opt", func(d *doc.Create) any { return d.HostConfig.DnsOptions }},
	{"extra_hosts", func(d *doc.Create) any { return d.HostConfig.ExtraHosts }},
	{"group_add", func(d *doc.Create) any { return d.HostConfig.GroupAdd }},
	{"init", func(d *doc.Create) any { return d.HostConfig.Init }},
	{"ipc", func(d *doc.Create) any { return d.HostConfig.IpcMode }},
	{"pid", func(d *doc.Create) any { return d.HostConfig.PidMode }},
	{"privileged", func(d *doc.Create) any { return d.HostConfig.Privileged }},
	{"read_only", func(d *doc.Create) any { return d.HostConfig.ReadonlyRootfs }},
	{"restart", func(d *doc.Create) any { return d.HostConfig.RestartPolicy }},
	{"security_opt", func(d *doc.Create) any { return d.HostConfig.SecurityOpt }},
	{"sysctls", func(d *doc.Create) any { return d.HostConfig.Sysctls }},
	{"ulimits", func(d *doc.Create) any { return d.HostConfig.Ulimits }},
	{"userns_mode", func(d *doc.Create) any { return d.HostConfig.UsernsMode }},
	{"storage_opt", func(d *doc.Create) any { return d.HostConfig.StorageOpt }},
}

// Capabilities says which fields of a target this engine cannot honour. They are not compared.
type Capabilities struct {
	NoOomKill bool // oom_kill_disable is dropped by the engine (cgroup v2, docs/spec/engine.md D26)
}

// Compare lists the differences between a target service and a container read back; none means that
// the container may stay (docs/spec/engine.md 4.2). peerID returns the id of a service's container, for network_mode
// service:x. While the image is not on the device, only the image is reported, since the rest of the target is not
// known yet.
func Compare(want *Service, have *Container, peerID func(service string) string, engine Capabilities) []Difference {
	w, h := &want.Container.Doc, &have.Doc
	if w.Image != h.Image && !want.ImageKnown {
		return []Difference{differ("image", h.Image, w.Image)}
	}
	var out []Difference
	if w.Image != h.Image {
		out = append(out, differ("image", h.Image, w.Image))
	}
	if !slices.Equal(w.Env, h.Env) {
		out = append(out, compareMaps("environment ", splitEnv(h.Env), splitEnv(w.Env))...)
	}
	out = append(out, compareLabels(h.Labels, w.Labels)...)
	out = append(out, compareMode(want, have, peerID)...)
	out = append(out, compareEndpoints(have.Networks, want.Container.Networks)...)
	for _, f := range fields {
		if engine.NoOomKill && f.name == "oom_kill_disable" {
			continue
		}
		if have, want := f.value(h), f.value(w); !reflect.DeepEqual(have, want) {
			out = append(out, differ(f.name, have, want))
		}
	}
	return out
}

// compareLabels compares labels. Containers of the time of single-container apps keep their service id.
func compareLabels(have, want map[string]string) []Difference {
	if maps.Equal(have, want) {
		return nil
	}
	if id, given := have[labelServiceID]; given && target.Truthy(have[labelLegacy]) {
		want = maps.Clone(want)
		want[labelServiceID] = id
	}
	return compareMaps("label ", have, want)
}

// compareMode compares what identifies a container on its networks: mode, hostname, MAC address.
func compareMode(want *Service, have *Container, peerID func(service string) string) []Difference {
	var out []Difference
	w, h := &want.Container.Doc, &have.Doc
	if !sameMode(want, have, peerID) {
		out = append(out, differ("network_mode", h.HostConfig.NetworkMode, w.HostConfig.NetworkMode))
	}
	// in host mode the engine replaces an empty hostname with the device's
	unnamedHost := w.HostConfig.NetworkMode == "host" && w.Hostname == ""
	if w.Hostname != h.Hostname && !unnamedHost {
		out = append(out, differ("hostname", h.Hostname, w.Hostname))
	}
	// newer engines store the address only in the endpoint
	mac := firstOf(h.MacAddress, have.Networks[h.HostConfig.NetworkMode].MacAddress)
	if w.MacAddress != h.MacAddress && w.MacAddress != mac {
		out = append(out, differ("mac_address", h.MacAddress, w.MacAddress))
	}
	return out
}

// sameMode also accepts another of the wanted networks as the main one: the engine treats all networks of a container
// alike once they are joined. A mapping of networks has no order that would name the first one. The set of networks is
// compared elsewhere.
func sameMode(want *Service, have *Container, peerID func(service string) string) bool {
	w, h := want.Container.Doc.HostConfig.NetworkMode, have.Doc.HostConfig.NetworkMode
	if peer, shared := strings.CutPrefix(w, "service:"); shared {
		id, joined := strings.CutPrefix(h, "container:")
		return joined && id != "" && id == peerID(peer)
	}
	_, wanted := want.Container.Networks[h]
	_, joined := have.Networks[w]
	return w == h || wanted && joined
}

// compareEndpoints compares the sets of networks. Engines add their own aliases and addresses. So additional aliases do
// not count, and addresses count only when the target sets them.
func compareEndpoints(have, want map[string]doc.Endpoint) []Difference {
	var out []Difference
	for _, name := range sortedKeys(want) {
		w := want[name]
		h, joined := have[name]
		if !joined {
			out = append(out, networkDifference("none", name))
			continue
		}
		if missing := without(w.Aliases, h.Aliases); len(missing) > 0 {
			out = append(out, differ("networks "+name+" aliases", h.Aliases, w.Aliases))
		}
		out = append(out, compareAddresses(name, h.IPAMConfig, w.IPAMConfig)...)
	}
	for _, name := range sortedKeys(have) {
		if _, wanted := want[name]; !wanted {
			out = append(out, networkDifference(name, "none"))
		}
	}
	return out
}

func networkDifference(have, want string) Difference {
	return Difference{Field: "networks", Have: have, Want: want, hash: hash("networks", have, want)}
}

func compareAddresses(network string, have, want *doc.EndpointIPAM) []Difference {
	if want == nil {
		return nil
	}
	if have == nil {
		have = &doc.EndpointIPAM{}
	}
	var out []Difference
	if want.IPv4Address != "" && want.IPv4Address != have.IPv4Address {
		out = append(out, differ("networks "+network+" ipv4_address", have.IPv4Address, want.IPv4Address))
	}
	if want.IPv6Address != "" && want.IPv6Address != have.IPv6Address {
		out = append(out, differ("networks "+network+" ipv6_address", have.IPv6Address, want.IPv6Address))
	}
	if len(want.LinkLocalIPs) > 0 && !slices.Equal(want.LinkLocalIPs, have.LinkLocalIPs) {
		out = append(out, differ("networks "+network+" link_local_ips", have.LinkLocalIPs, want.LinkLocalIPs))
	}
	return out
}
