package compose

import (
	"math"
	"strconv"
	"strings"
	"time"

	"resin-supervisor/update/engine/doc"
)

// readFields reads the keys that do not depend on other keys or on the image (docs/spec/engine.md 2.3).
func readFields(sec *section, d *doc.Create) {
	d.Tty = sec.flag("tty", true)
	d.Hostname = sec.text("hostname", "")
	d.Domainname = sec.text("domainname", "")
	d.MacAddress = sec.text("mac_address", "")
	d.StopTimeout = readStopTimeout(sec)
	readResources(sec, &d.HostConfig)
	readSecurity(sec, &d.HostConfig)
	readNames(sec, &d.HostConfig)
	d.HostConfig.Tmpfs = readTmpfs(sec)
	d.HostConfig.PortBindings = readPorts(sec)
	d.HostConfig.RestartPolicy = readRestart(sec)
	d.HostConfig.Devices = readDevices(sec)
	d.HostConfig.StorageOpt = sec.pairs("storage_opt", false)
	d.HostConfig.Init = readInit(sec)
}

func readResources(sec *section, h *doc.HostConfig) {
	h.CgroupParent = sec.text("cgroup_parent", "")
	h.CpusetCpus = sec.text("cpuset", "")
	h.CpuShares = sec.whole("cpu_shares")
	h.CpuQuota = sec.whole("cpu_quota")
	h.NanoCpus = sec.nano("cpus")
	h.Memory = sec.bytes("mem_limit", 0)
	h.MemoryReservation = sec.bytes("mem_reservation", 0)
	h.ShmSize = sec.bytes("shm_size", 0)
	oom := sec.flag("oom_kill_disable", false)
	h.OomKillDisable = &oom
	h.OomScoreAdj = sec.small("oom_score_adj")
	pids := sec.whole("pids_limit")
	h.PidsLimit = &pids
	h.Ulimits = readUlimits(sec)
}

func readSecurity(sec *section, h *doc.HostConfig) {
	h.CapAdd = sec.list("cap_add")
	h.CapDrop = sec.list("cap_drop")
	h.GroupAdd = sec.list("group_add")
	h.IpcMode = sec.mode("ipc")
	h.PidMode = sec.mode("pid")
	h.Privileged = sec.flag("privileged", false)
	h.ReadonlyRootfs = sec.flag("read_only", false)
	h.UsernsMode = sec.mode("userns_mode")
	h.Sysctls = sec.pairs("sysctls", false)
	h.SecurityOpt = sec.list("security_opt")
	for _, option := range h.SecurityOpt {
		if isLabelOption(option) {
			sec.warn("security_opt " + option + " is ignored")
		}
	}
}

func readNames(sec *section, h *doc.HostConfig) {
	h.Dns = sec.list("dns")
	h.DnsSearch = sec.list("dns_search")
	h.DnsOptions = sec.list("dns_opt")
	h.ExtraHosts = readExtraHosts(sec)
}

// readStopTimeout reads stop_grace_period in seconds, rounded up so that no container is killed early.
func readStopTimeout(sec *section) *int {
	d, given := sec.duration("stop_grace_period")
	if !given {
		return nil
	}
	seconds := int(min((d+time.Second-1)/time.Second, math.MaxInt32))
	return &seconds
}

func readInit(sec *section) *bool {
	v := sec.take("init")
	init, ok := parseFlag(v)
	if !ok {
		if v != nil {
			sec.warnType("init", "true or false")
		}
		return nil
	}
	return &init
}

// readRestart reads the restart policy. An unknown one means always. YAML turns an unquoted no into false.
func readRestart(sec *section) doc.RestartPolicy {
	text := strings.ToLower(firstOf(sec.mode("restart"), "always"))
	name, count, counted := strings.Cut(text, ":")
	switch {
	case text == "no", text == "false":
		return doc.RestartPolicy{Name: "no"}
	case text == "always", text == "unless-stopped":
		return doc.RestartPolicy{Name: text}
	case name == "on-failure":
		n, err := strconv.ParseUint(count, 10, 31)
		if counted && err != nil {
			break
		}
		return doc.RestartPolicy{Name: name, MaximumRetryCount: int(n)}
	}
	sec.warn("restart " + strconv.Quote(text) + " is unknown, always is used")
	return doc.RestartPolicy{Name: "always"}
}

func readDevices(sec *section) []doc.Device {
	var out []doc.Device
	items, ok := sec.take("devices").([]any)
	if !ok {
		return nil
	}
	for _, item := range items {
		device, ok := readDevice(sec, item)
		if ok {
			out = append(out, device)
		} else if item != nil {
			sec.warn("an entry of devices is not host[:container[:permissions]] and is ignored")
		}
	}
	return out
}

func readDevice(sec *section, item any) (doc.Device, bool) {
	var d doc.Device
	switch item := item.(type) {
	case string:
		parts := append(strings.Split(item, ":"), "", "")
		d = doc.Device{PathOnHost: parts[0], PathInContainer: parts[1], CgroupPermissions: parts[2]}
		if len(parts) > 5 {
			return d, false
		}
	case map[string]any:
		long := newSection("devices.", item, sec.notes)
		d = doc.Device{
			PathOnHost:        long.text("source", ""),
			PathInContainer:   long.text("target", ""),
			CgroupPermissions: long.text("permissions", ""),
		}
		long.finish()
	}
	d.PathInContainer = firstOf(d.PathInContainer, d.PathOnHost)
	d.CgroupPermissions = firstOf(d.CgroupPermissions, "rwm")
	return d, d.PathOnHost != ""
}

// readExtraHosts reads host:address entries: a list, or a mapping to one or more addresses.
func readExtraHosts(sec *section) []string {
	var out []string
	add := func(host, address string) {
		address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
		out = append(out, host+":"+address)
	}
	switch v := sec.take("extra_hosts").(type) {
	case nil:
	case []any:
		for _, entry := range sec.scalars("extra_hosts", v) {
			host, address, found := strings.Cut(entry, "=")
			if !found {
				host, address, _ = strings.Cut(entry, ":")
			}
			add(host, address)
		}
	case map[string]any:
		for _, host := range sortedKeys(v) {
			addresses, many := v[host].([]any)
			if !many {
				addresses = []any{v[host]}
			}
			for _, address := range sec.scalars("extra_hosts", addresses) {
				add(host, address)
			}
		}
	default:
		sec.warnType("extra_hosts", "a list or mapping of hosts")
	}
	return out
}

func readUlimits(sec *section) []doc.Ulimit {
	v := sec.take("ulimits")
	m, ok := v.(map[string]any)
	if v != nil && !ok {
		sec.warnType("ulimits", "a mapping")
	}
	var out []doc.Ulimit
	for _, name := range sortedKeys(m) {
		limit, ok := readUlimit(sec, m[name])
		if limit.Name = name; ok {
			out = append(out, limit)
		} else if m[name] != nil {
			sec.warnType("ulimits."+name, "a number or soft and hard numbers")
		}
	}
	return out
}

func readUlimit(sec *section, v any) (doc.Ulimit, bool) {
	if text, ok := scalar(v); ok {
		n, ok := parseWhole(text)
		return doc.Ulimit{Soft: n, Hard: n}, ok
	}
	m, ok := v.(map[string]any)
	if !ok {
		return doc.Ulimit{}, false
	}
	both := newSection("ulimits.", m, sec.notes)
	soft, hard := both.text("soft", ""), both.text("hard", "")
	both.finish()
	s, softOK := parseWhole(firstOf(soft, hard))
	h, hardOK := parseWhole(firstOf(hard, soft))
	return doc.Ulimit{Soft: s, Hard: h}, softOK && hardOK
}
