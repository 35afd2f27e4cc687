package compose

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"resin-supervisor/update/engine/doc"
)

// The engine's defaults for missing fields (docs/spec/engine.md 2.3).
const (
	defaultStopSignal  = "SIGTERM"
	defaultStopTimeout = 10 // seconds
	defaultShmSize     = 64 << 20
	defaultIpcMode     = "shareable"
)

// canonical brings a create document into a form in which equal behaviour is equal text: sets are sorted, empty and
// default values are the same, names have one spelling. The result shares no slice or map with the argument.
func canonical(d *doc.Create) {
	d.Cmd = slices.Clone(orNilList(d.Cmd))
	if isEmptyEntrypoint(d.Entrypoint) {
		d.Entrypoint = nil
	}
	d.Entrypoint = slices.Clone(d.Entrypoint)
	d.Env = canonicalEnv(d.Env)
	d.Labels = orNil(NormaliseLabels(d.Labels))
	d.WorkingDir = cleanPath(d.WorkingDir)
	d.MacAddress = strings.ToLower(d.MacAddress)
	d.StopSignal = firstOf(d.StopSignal, defaultStopSignal)
	seconds := defaultStopTimeout
	if d.StopTimeout != nil {
		seconds = *d.StopTimeout
	}
	d.StopTimeout = &seconds
	d.Healthcheck = canonicalHealth(d.Healthcheck)
	d.NetworkingConfig = doc.NetworkingConfig{}
	canonicalHost(&d.HostConfig)
	canonicalStorage(d)
	d.ExposedPorts = exposed(d.HostConfig.PortBindings)
	if isShared(d.HostConfig.NetworkMode) {
		d.Hostname, d.Domainname = "", "" // those of the other container apply
	}
}

func canonicalHost(h *doc.HostConfig) {
	h.NetworkMode = canonicalMode(h.NetworkMode)
	h.Tmpfs = canonicalTmpfs(h.Tmpfs)
	h.PortBindings = canonicalPorts(h.PortBindings)
	h.RestartPolicy = canonicalRestart(h.RestartPolicy)
	h.IpcMode = firstOf(h.IpcMode, defaultIpcMode)
	h.CgroupnsMode, h.UTSMode, h.Runtime, h.DeviceCgroupRules, h.LogConfig = "", "", "", nil, nil
	h.CapAdd, h.CapDrop = canonicalCaps(h.CapAdd), canonicalCaps(h.CapDrop)
	h.SecurityOpt = sortedSet(slices.DeleteFunc(slices.Clone(h.SecurityOpt), isLabelOption))
	h.Devices = canonicalDevices(h.Devices)
	h.DeviceRequests = canonicalRequests(h.DeviceRequests)
	h.Dns, h.DnsSearch = slices.Clone(orNilList(h.Dns)), slices.Clone(orNilList(h.DnsSearch))
	h.DnsOptions, h.ExtraHosts, h.GroupAdd = sortedSet(h.DnsOptions), sortedSet(h.ExtraHosts), sortedSet(h.GroupAdd)
	h.Sysctls, h.StorageOpt = copyOf(h.Sysctls), copyOf(h.StorageOpt)
	h.Ulimits = slices.Clone(orNilList(h.Ulimits))
	sort.Slice(h.Ulimits, func(i, j int) bool {
		a, b := &h.Ulimits[i], &h.Ulimits[j]
		return cmp.Compare(a.Name, b.Name) < 0
	})
	if h.OomKillDisable != nil && !*h.OomKillDisable {
		h.OomKillDisable = nil
	}
	if h.PidsLimit != nil && *h.PidsLimit <= 0 {
		h.PidsLimit = nil
	}
	if h.ShmSize == 0 {
		h.ShmSize = defaultShmSize
	}
}

// canonicalMode gives the engine's own bridge one name. Older engines keep the word default.
func canonicalMode(mode string) string {
	if mode == "" || mode == "default" {
		return "bridge"
	}
	return mode
}

// isShared reports whether a container uses the network namespace of another.
func isShared(mode string) bool {
	return strings.HasPrefix(mode, "container:") || strings.HasPrefix(mode, "service:")
}

func isEmptyEntrypoint(words []string) bool {
	return len(words) == 0 || len(words) == 1 && words[0] == ""
}

// isLabelOption finds label options. The engine adds some of its own to privileged containers.
func isLabelOption(option string) bool {
	return strings.Contains(option, "label=") || strings.HasPrefix(option, "label:")
}

func canonicalEnv(list []string) []string {
	env := splitEnv(list)
	delete(env, nameAtInit)
	delete(env, nameAtInitResin)
	return orNilList(joinEnv(env))
}

func canonicalHealth(h *doc.Health) *doc.Health {
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return &doc.Health{Test: []string{"NONE"}}
	}
	out := *h
	out.Test = slices.Clone(h.Test)
	return &out
}

func canonicalRestart(p doc.RestartPolicy) doc.RestartPolicy {
	p.Name = firstOf(p.Name, "no")
	if p.Name != "on-failure" {
		p.MaximumRetryCount = 0
	}
	return p
}

func canonicalCaps(caps []string) []string {
	out := make([]string, len(caps))
	for i, name := range caps {
		out[i] = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	}
	return sortedSet(out)
}

func canonicalPorts(bindings map[string][]doc.PortBinding) map[string][]doc.PortBinding {
	out := make(map[string][]doc.PortBinding, len(bindings))
	for key, list := range bindings {
		if !strings.Contains(key, "/") {
			key += "/tcp"
		}
		out[key] = append(out[key], list...)
	}
	for key, list := range out {
		sort.Slice(list, func(i, j int) bool {
			a, b := &list[i], &list[j]
			return cmp.Or(cmp.Compare(a.HostIp, b.HostIp), cmp.Compare(a.HostPort, b.HostPort)) < 0
		})
		if out[key] = slices.Compact(list); len(list) == 0 {
			delete(out, key)
		}
	}
	return orNil(out)
}

// exposed lists the published ports. Other ports that the image exposes have no effect and are not compared.
func exposed(bindings map[string][]doc.PortBinding) map[string]struct{} {
	out := make(map[string]struct{}, len(bindings))
	for key := range bindings {
		out[key] = struct{}{}
	}
	return orNil(out)
}

func canonicalDevices(devices []doc.Device) []doc.Device {
	out := slices.Clone(orNilList(devices))
	sort.Slice(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		return cmp.Or(cmp.Compare(a.PathInContainer, b.PathInContainer), cmp.Compare(a.PathOnHost, b.PathOnHost),
			cmp.Compare(a.CgroupPermissions, b.CgroupPermissions)) < 0
	})
	return slices.Compact(out)
}

func canonicalRequests(requests []doc.DeviceRequest) []doc.DeviceRequest {
	out := slices.Clone(orNilList(requests))
	for i := range out {
		out[i].DeviceIDs = slices.Clone(orNilList(out[i].DeviceIDs))
		out[i].Options = copyOf(out[i].Options)
	}
	return out
}

func canonicalEndpoints(networks map[string]doc.Endpoint) map[string]doc.Endpoint {
	out := make(map[string]doc.Endpoint, len(networks))
	for name, e := range networks {
		out[name] = canonicalEndpoint(e)
	}
	return orNil(out)
}

func canonicalEndpoint(e doc.Endpoint) doc.Endpoint {
	out := doc.Endpoint{Aliases: sortedSet(e.Aliases), MacAddress: strings.ToLower(e.MacAddress)}
	if ip := e.IPAMConfig; ip != nil && (ip.IPv4Address != "" || ip.IPv6Address != "" || len(ip.LinkLocalIPs) > 0) {
		out.IPAMConfig = &doc.EndpointIPAM{IPv4Address: canonicalAddress(ip.IPv4Address), IPv6Address: canonicalAddress(ip.IPv6Address)}
		for _, local := range ip.LinkLocalIPs {
			out.IPAMConfig.LinkLocalIPs = append(out.IPAMConfig.LinkLocalIPs, canonicalAddress(local))
		}
		out.IPAMConfig.LinkLocalIPs = sortedSet(out.IPAMConfig.LinkLocalIPs)
	}
	return out
}

func canonicalNetwork(d *doc.NetworkCreate) {
	d.CheckDuplicate = true
	d.Driver = firstOf(d.Driver, "bridge")
	d.Options = copyOf(d.Options)
	d.Labels = orNil(NormaliseLabels(d.Labels))
	d.IPAM.Driver = firstOf(d.IPAM.Driver, "default")
	d.IPAM.Options = copyOf(d.IPAM.Options)
	d.IPAM.Config = slices.Clone(orNilList(d.IPAM.Config))
	for i := range d.IPAM.Config {
		p := &d.IPAM.Config[i]
		p.Subnet, p.IPRange, p.Gateway = canonicalPrefix(p.Subnet), canonicalPrefix(p.IPRange), canonicalAddress(p.Gateway)
		p.AuxiliaryAddresses = copyOf(p.AuxiliaryAddresses)
		for name, address := range p.AuxiliaryAddresses {
			p.AuxiliaryAddresses[name] = canonicalAddress(address)
		}
	}
	sort.Slice(d.IPAM.Config, func(i, j int) bool {
		a, b := &d.IPAM.Config[i], &d.IPAM.Config[j]
		return cmp.Or(cmp.Compare(a.Subnet, b.Subnet), cmp.Compare(a.IPRange, b.IPRange), cmp.Compare(a.Gateway, b.Gateway)) < 0
	})
}

// canonicalPrefix gives an address range one spelling: 10.88.50.7/24 is 10.88.50.0/24. Other text stays as it is, and
// the engine refuses it.
func canonicalPrefix(text string) string {
	address, length, _ := strings.Cut(text, "/")
	if bits, err := strconv.Atoi(length); err == nil {
		a, _ := netip.ParseAddr(address)
		if p, err := a.Prefix(bits); err == nil && p.IsValid() {
			return p.String()
		}
	}
	return text
}

// canonicalAddress gives an address one spelling: FD00:0:0:0::1 is fd00::1.
func canonicalAddress(text string) string {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.String()
	}
	return text
}

// cleanPath is path.Clean, but an empty path stays empty.
func cleanPath(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}

// sortedSet is a sorted copy without duplicates, nil when empty.
func sortedSet(list []string) []string {
	out := slices.Clone(orNilList(list))
	slices.Sort(out)
	return slices.Compact(out)
}

func orNilList[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func orNil[M ~map[K]V, K comparable, V any](m M) M {
	if len(m) == 0 {
		return nil
	}
	return m
}

func copyOf(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	overlay(out, m)
	return orNil(out)
}
