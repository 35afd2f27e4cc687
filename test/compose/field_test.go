package compose_test

import (
	"strings"

	"resin-supervisor/test/harness"
)

// data is why rows are not started that are not about the machine: the engine only keeps what it is
// told, and eighty running containers are many. Started, all of them together are one service of
// test/update.
const data = "the engine only keeps it"

// table is every row: fields, feature labels, volumes and networks of a service. socket is the engine's,
// other an image with VERSION v2.
func table(socket string, other harness.Image) []row {
	var rows []row
	for _, part := range [][]row{
		processRows(), resourceRows(), securityRows(), nameRows(), volumeRows(), networkRows(), featureRows(socket),
		{
			{key: "image", changed: other, read: variable("VERSION"), want: `"v1"`, then: `"v2"`},
			{key: "running", value: true, changed: false, read: at("State/Running"), want: `true`, then: `false`, inPlace: true},
			{key: "depends_on", value: list{"command"}, changed: dict{"tty": nil}, read: at("State/Running"),
				want: `true`, then: `true`, inPlace: true},
		},
	} {
		rows = append(rows, part...)
	}
	return rows
}

// processRows are about what runs in the container.
func processRows() []row {
	return []row{
		{key: "command", value: list{"a", "b c"}, same: `a "b c"`, changed: list{"a", "b", "c"}, read: at("Config/Cmd"),
			want: `["a","b c"]`, then: `["a","b","c"]`},
		// engine.md 17: quotes keep what a shell would expand.
		{name: "command-line", created: data, key: "command", value: `sh -c "echo $X && ls *"`, same: list{"sh", "-c", "echo $X && ls *"},
			changed: `sh -c 'echo $X' && ls *`, read: at("Config/Cmd"), want: `["sh","-c","echo $X && ls *"]`,
			then: `["sh","-c","echo $X","&&","ls","*"]`},
		{key: "entrypoint", value: "/main --x", same: list{"/main", "--x"}, changed: list{"/main"}, read: at("Config/Entrypoint"),
			want: `["/main","--x"]`, then: `["/main"]`},
		// engine.md 33: null in the environment is no variable.
		{key: "environment", created: data, value: dict{"A": "1", "B": 2, "C": true, "N": nil}, same: list{"C=true", "B=2", "A=1"},
			changed: dict{"A": "1", "B": 2, "N": ""}, read: all(variable("A"), variable("B"), variable("C"), variable("N")),
			want: `["1","2","true",null]`, then: `["1","2",null,""]`},
		{key: "labels", created: data, value: dict{"colour": "red", "size": 5}, same: list{"size=5", "colour=red"}, changed: dict{"colour": "blue"},
			read: all(at("Config/Labels/colour"), at("Config/Labels/size")), want: `["red","5"]`, then: `["blue",null]`},
		// engine.md 18: the service's own win over the composition's.
		{name: "own-environment", created: data, key: "environment", value: dict{"A": "composition", "B": "b"}, changed: dict{"A": "new", "B": "c"},
			read: all(variable("A"), variable("B"), variable("VERSION")), want: `["own","b","v1"]`, then: `["own","c","v1"]`,
			more: func(s harness.Service) harness.Service { return s.Setting("A", "own") }},
		{name: "own-labels", created: data, key: "labels", value: dict{"a": "composition", "b": "b"}, changed: dict{"a": "new", "b": "c"},
			read: all(at("Config/Labels/a"), at("Config/Labels/b")), want: `["own","b"]`, then: `["own","c"]`,
			more: func(s harness.Service) harness.Service { return s.Labelled("a", "own") }},
		{key: "tty", value: false, changed: true, read: at("Config/Tty"), want: `false`, then: `true`},
		{key: "user", value: "0:0", changed: 1000, read: at("Config/User"), want: `"0:0"`, then: `"1000"`},
		{key: "working_dir", value: "/data/", same: "/data", changed: "/tmp", read: at("Config/WorkingDir"), want: `"/data"`, then: `"/tmp"`},
		{key: "stop_signal", created: data, value: "SIGINT", changed: 1, read: at("Config/StopSignal"), want: `"SIGINT"`, then: `"1"`},
		// engine.md 33: no grace at all is not the default grace.
		{key: "stop_grace_period", created: data, value: "0s", changed: "1m30s", read: at("Config/StopTimeout"), want: `0`, then: `90`},
		{key: "healthcheck", value: dict{"test": "true", "interval": "1h", "timeout": "5s", "start_period": "2s", "retries": 4},
			same:    dict{"test": list{"CMD-SHELL", "true"}, "interval": "60m", "timeout": "5s", "startPeriod": "2000ms", "retries": "4"},
			changed: dict{"test": "true", "interval": "2h"}, read: at("Config/Healthcheck"),
			want: `{"Test":["CMD-SHELL","true"],"Interval":3600000000000,"Timeout":5000000000,"StartPeriod":2000000000,"Retries":4}`,
			then: `{"Test":["CMD-SHELL","true"],"Interval":7200000000000}`},
		{name: "healthcheck-off", created: data, key: "healthcheck", value: dict{"disable": true, "test": "true"}, same: dict{"test": list{"NONE"}},
			changed: dict{"test": list{"CMD", "/main"}, "interval": "1h"}, read: at("Config/Healthcheck/Test"), want: `["NONE"]`, then: `["CMD","/main"]`},
		{key: "init", value: true, changed: false, read: at("HostConfig/Init"), want: `true`, then: `false`},
		// engine.md 13.
		{key: "restart", value: "on-failure:3", changed: "on-failure", read: at("HostConfig/RestartPolicy"),
			want: `{"Name":"on-failure","MaximumRetryCount":3}`, then: `{"Name":"on-failure","MaximumRetryCount":0}`},
		{name: "restart-no", created: data, key: "restart", value: false, same: " No ", changed: "unless-stopped", read: at("HostConfig/RestartPolicy/Name"),
			want: `"no"`, then: `"unless-stopped"`},
	}
}

// resourceRows are about limits.
func resourceRows() []row {
	return []row{
		{key: "cgroup_parent", value: "/shelf-a", changed: "/shelf-b", read: at("HostConfig/CgroupParent"), want: `"/shelf-a"`, then: `"/shelf-b"`},
		{key: "cpuset", value: "0", changed: "0-0", read: at("HostConfig/CpusetCpus"), want: `"0"`, then: `"0-0"`},
		{key: "cpu_shares", created: data, value: 512, same: "512", changed: 256, read: at("HostConfig/CpuShares"), want: `512`, then: `256`},
		{key: "cpu_quota", value: 50000, same: "50000.0", changed: 60000, read: at("HostConfig/CpuQuota"), want: `50000`, then: `60000`},
		// engine.md 33: D10, a change of cpus is seen.
		{key: "cpus", value: "0.5", same: 0.5, changed: 0.75, read: at("HostConfig/NanoCpus"), want: `500000000`, then: `750000000`},
		// engine.md 16.
		{key: "mem_limit", value: "64MB", same: 64 << 20, changed: "96m", read: at("HostConfig/Memory"), want: `67108864`, then: `100663296`},
		{key: "mem_reservation", created: data, value: "16m", changed: "1g", read: at("HostConfig/MemoryReservation"), want: `16777216`, then: `1073741824`},
		{key: "shm_size", value: "64", same: 64, changed: "64k", read: at("HostConfig/ShmSize"), want: `64`, then: `65536`},
		{name: "shm_size-decimal", created: data, key: "shm_size", value: "1.5g", same: "1536m", changed: "1G", read: at("HostConfig/ShmSize"),
			want: `1610612736`, then: `1073741824`}, // decimals are taken as a compose user means them
		// engine.md 33.
		{key: "oom_kill_disable", value: true, changed: false, read: at("HostConfig/OomKillDisable"), want: `true`, then: `false`},
		{key: "oom_score_adj", value: 100, changed: "200", read: at("HostConfig/OomScoreAdj"), want: `100`, then: `200`},
		{key: "pids_limit", value: 100, changed: 0, read: at("HostConfig/PidsLimit"), want: `100`, then: `null`},
		{key: "ulimits", value: dict{"nofile": dict{"soft": 100, "hard": 200}, "nproc": 400},
			same: dict{"nproc": dict{"soft": 400, "hard": "400"}, "nofile": dict{"hard": 200, "soft": 100}}, changed: dict{"nofile": 300},
			read: set("HostConfig/Ulimits"), want: `[{"Hard":200,"Name":"nofile","Soft":100},{"Hard":400,"Name":"nproc","Soft":400}]`,
			then: `[{"Hard":300,"Name":"nofile","Soft":300}]`},
		// engine.md 32: the order of devices says nothing.
		{key: "devices", value: list{"/dev/null:/dev/x1", "/dev/zero:/dev/x0:r"}, same: list{"/dev/zero:/dev/x0:r", "/dev/null:/dev/x1:rwm"},
			changed: list{"/dev/zero"}, read: set("HostConfig/Devices"),
			want: `[{"PathOnHost":"/dev/zero","PathInContainer":"/dev/x0","CgroupPermissions":"r"},{"PathOnHost":"/dev/null","PathInContainer":"/dev/x1","CgroupPermissions":"rwm"}]`,
			then: `[{"PathOnHost":"/dev/zero","PathInContainer":"/dev/zero","CgroupPermissions":"rwm"}]`},
	}
}

// securityRows are about what the container may do.
func securityRows() []row {
	return []row{
		// engine.md 32: neither do order and spelling of capabilities.
		{key: "cap_add", value: list{"SYS_TIME", "NET_ADMIN"}, same: list{"NET_ADMIN", "CAP_SYS_TIME"}, changed: list{"NET_ADMIN"},
			read: set("HostConfig/CapAdd"), want: `["NET_ADMIN","SYS_TIME"]`, then: `["NET_ADMIN"]`},
		{key: "cap_drop", value: list{"MKNOD", "CHOWN"}, same: list{"CHOWN", "MKNOD"}, changed: list{"CHOWN"},
			read: set("HostConfig/CapDrop"), want: `["CHOWN","MKNOD"]`, then: `["CHOWN"]`},
		{key: "group_add", value: list{"5", 1}, same: list{"1", "5"}, changed: list{"1"}, read: set("HostConfig/GroupAdd"), want: `["1","5"]`, then: `["1"]`},
		{key: "ipc", value: "private", changed: "none", read: at("HostConfig/IpcMode"), want: `"private"`, then: `"none"`},
		// engine.md 26: the engine adds label=disable here and to privileged containers.
		{key: "pid", value: "host", changed: nil, read: at("HostConfig/PidMode"), want: `"host"`, then: `""`},
		{key: "privileged", value: true, changed: false, read: at("HostConfig/Privileged"), want: `true`, then: `false`,
			created: "a machine in a container itself may not grant everything"},
		{key: "read_only", value: true, changed: false, read: at("HostConfig/ReadonlyRootfs"), want: `true`, then: `false`},
		// engine.md 26.
		{key: "security_opt", value: list{"no-new-privileges", "label=type:x"}, same: list{"no-new-privileges"},
			changed: list{"seccomp=unconfined", "no-new-privileges"}, read: set("HostConfig/SecurityOpt"),
			want: `["no-new-privileges"]`, then: `["no-new-privileges","seccomp=unconfined"]`},
		{key: "sysctls", value: dict{"net.ipv4.ip_forward": 1, "kernel.msgmax": "10000"}, same: list{"kernel.msgmax=10000", "net.ipv4.ip_forward=1"},
			changed: dict{"net.ipv4.ip_forward": 0}, read: at("HostConfig/Sysctls"),
			want: `{"kernel.msgmax":"10000","net.ipv4.ip_forward":"1"}`, then: `{"net.ipv4.ip_forward":"0"}`},
		{key: "userns_mode", value: "host", changed: "", read: at("HostConfig/UsernsMode"), want: `"host"`, then: `""`},
	}
}

// nameRows are about names, addresses and ports.
func nameRows() []row {
	return []row{
		{key: "hostname", value: "shop-a", changed: "shop-b", read: at("Config/Hostname"), want: `"shop-a"`, then: `"shop-b"`},
		{key: "domainname", created: data, value: "a.example", changed: "b.example", read: at("Config/Domainname"), want: `"a.example"`, then: `"b.example"`},
		{key: "mac_address", value: "02:42:0A:00:00:0A", same: "02:42:0a:00:00:0a", changed: "02:42:0a:00:00:0b",
			read: at("NetworkSettings/Networks/" + shopID + "_default/MacAddress"), want: `"02:42:0a:00:00:0a"`, then: `"02:42:0a:00:00:0b"`},
		{key: "dns", value: "192.0.2.1", same: list{"192.0.2.1"}, changed: list{"192.0.2.2", "192.0.2.1"}, read: at("HostConfig/Dns"),
			want: `["192.0.2.1"]`, then: `["192.0.2.2","192.0.2.1"]`},
		{key: "dns_search", created: data, value: list{"b.example", "a.example"}, changed: list{"a.example", "b.example"}, read: at("HostConfig/DnsSearch"),
			want: `["b.example","a.example"]`, then: `["a.example","b.example"]`},
		{key: "dns_opt", created: data, value: list{"ndots:2", "debug"}, same: list{"debug", "ndots:2"}, changed: list{"debug"}, read: set("HostConfig/DnsOptions"),
			want: `["debug","ndots:2"]`, then: `["debug"]`},
		{key: "extra_hosts", created: data, value: list{"b=192.0.2.2", "a:192.0.2.1"}, same: dict{"a": "192.0.2.1", "b": "192.0.2.2"}, changed: list{"a:192.0.2.1"},
			read: set("HostConfig/ExtraHosts"), want: `["a:192.0.2.1","b:192.0.2.2"]`, then: `["a:192.0.2.1"]`},
		// engine.md 14.
		{key: "ports", value: list{"80", "8081:81/udp", "127.0.0.1:9000-9001:90-91"},
			same:    list{dict{"target": 91, "published": "9001", "host_ip": "127.0.0.1"}, "127.0.0.1:9000:90", "80:80/tcp", "8081:81/udp"},
			changed: list{"8081:81/udp"}, read: at("HostConfig/PortBindings"),
			want: `{"80/tcp":[{"HostIp":"","HostPort":"80"}],"81/udp":[{"HostIp":"","HostPort":"8081"}],
				"90/tcp":[{"HostIp":"127.0.0.1","HostPort":"9000"}],"91/tcp":[{"HostIp":"127.0.0.1","HostPort":"9001"}]}`,
			then: `{"81/udp":[{"HostIp":"","HostPort":"8081"}]}`},
		// engine.md 15: nothing is published by exposing it.
		{key: "expose", created: data, value: list{"80"}, changed: list{"81"}, read: all(at("HostConfig/PortBindings"), at("Config/ExposedPorts")),
			want: `[null,null]`, then: `[null,null]`, inPlace: true},
	}
}

// volumeRows are about what is mounted (docs/spec/engine.md 2.7).
func volumeRows() []row {
	mount := func(more dict) dict {
		m := dict{"type": "volume", "source": "data", "target": "/data"}
		for key, value := range more {
			m[key] = value
		}
		return m
	}
	return []row{
		// engine.md 20: names get the app's id, host paths are dropped.
		{key: "volumes", value: list{"data:/data:ro", "more:/more"}, same: list{"more:/more:rw", "/etc:/host-etc", "data:/data:ro"},
			changed: list{"data:/data"}, read: probe(binds), want: `["31_data:/data:ro","31_more:/more"]`, then: `["31_data:/data"]`},
		{name: "volumes-anonymous", key: "volumes", value: list{"/cache"}, same: list{dict{"type": "bind", "source": "/etc", "target": "/x"}, "/cache/"},
			changed: list{"/other"}, read: all(at("Config/Volumes"), mounts), want: `[{"/cache":{}},[]]`, then: `[{"/other":{}},[]]`},
		// engine.md 32: read_only, nocopy and sizes.
		{name: "volumes-long", key: "volumes", value: list{mount(dict{"read_only": true, "volume": dict{"nocopy": false}})},
			same: list{mount(dict{"readOnly": true})}, changed: list{mount(dict{"volume": dict{"nocopy": true}})}, read: probe(mounts),
			want: `[{"Type":"volume","Source":"31_data","Target":"/data","ReadOnly":true}]`,
			then: `[{"Type":"volume","Source":"31_data","Target":"/data","VolumeOptions":{"NoCopy":true}}]`},
		{name: "volumes-tmpfs", key: "volumes", value: list{dict{"type": "tmpfs", "target": "/scratch", "tmpfs": dict{"size": "64k"}}},
			same:    list{dict{"type": "tmpfs", "target": "/scratch/", "tmpfs": dict{"size": 65536}}},
			changed: list{dict{"type": "tmpfs", "target": "/scratch", "tmpfs": dict{"size": 131072, "mode": "1770"}}}, read: probe(mounts),
			want: `[{"Type":"tmpfs","Target":"/scratch","TmpfsOptions":{"SizeBytes":65536}}]`,
			then: `[{"Type":"tmpfs","Target":"/scratch","TmpfsOptions":{"SizeBytes":131072,"Mode":1016}}]`},
		{name: "volumes-unnamed", created: data, key: "volumes", value: list{dict{"type": "volume", "target": "/u"}}, changed: list{dict{"type": "volume", "target": "/v"}},
			read: probe(mounts), want: `[{"Type":"volume","Target":"/u"}]`, then: `[{"Type":"volume","Target":"/v"}]`},
		{key: "tmpfs", value: list{"/t1", "/t2:size=64k"}, same: list{"/t2/:size=64k", "/t1/"}, changed: "/t1", read: at("HostConfig/Tmpfs"),
			want: `{"/t1":"","/t2":"size=64k"}`, then: `{"/t1":""}`},
	}
}

// networkRows are about how a service is connected (docs/spec/engine.md 2.8).
func networkRows() []row {
	back := func(options dict) dict { return dict{"back": options} }
	in := func(path string) probe { return at("NetworkSettings/Networks/" + shopID + "_back/IPAMConfig/" + path) }
	port := func(n string) func(harness.Service) harness.Service {
		return func(s harness.Service) harness.Service { return s.Setting("PORT", n) }
	}
	return []row{
		// engine.md 24: both networks, each with the service's name. Leaving one is seen (D24).
		{key: "networks", value: list{"default", "back"}, same: dict{"back": nil, "default": dict{}}, changed: list{"back"},
			read: all(mode, aliases("default"), aliases("back")), want: `[["default",["back","default"]],["networks"],["networks"]]`,
			then: `[["back",["back"]],null,["networks"]]`},
		{name: "networks-aliases", key: "networks", value: back(dict{"aliases": list{"x", "y"}}), same: back(dict{"aliases": list{"y", "x"}}),
			changed: back(dict{"aliases": list{"z"}}), read: aliases("back"), want: `["networks-aliases","x","y"]`, then: `["networks-aliases","z"]`},
		{name: "networks-ipv4", key: "networks", value: back(dict{"ipv4_address": "10.77.0.9"}), same: back(dict{"ipv4Address": "10.77.0.9"}),
			changed: back(dict{"ipv4-address": "10.77.0.10"}), read: in("IPv4Address"), want: `"10.77.0.9"`, then: `"10.77.0.10"`},
		{name: "networks-ipv6", key: "networks", value: back(dict{"ipv6_address": "fd00:77::9"}), changed: back(dict{"ipv6_address": "fd00:77::a"}),
			read: in("IPv6Address"), want: `"fd00:77::9"`, then: `"fd00:77::a"`},
		// engine.md 31.
		{name: "networks-link-local", key: "networks", value: back(dict{"link_local_ips": list{"169.254.8.8", "169.254.8.9"}}),
			same:    back(dict{"linkLocalIps": list{"169.254.8.9", "169.254.8.8"}}),
			changed: back(dict{"link_local_ips": list{"169.254.8.8"}}), read: in("LinkLocalIPs"), want: `["169.254.8.8","169.254.8.9"]`, then: `["169.254.8.8"]`},
		// engine.md 22: supervisor0 is for those with the label.
		{name: "networks-supervisor", created: data, key: "networks", value: list{"supervisor0", "back"}, same: list{"back"}, changed: list{"supervisor0"}, read: probe(mode),
			want: `["back",["back"]]`, then: `["default",["default"]]`},
		// engine.md 23: the hostname is the device's.
		{key: "network_mode", value: "host", changed: "none", read: probe(mode), want: `["host",["host"]]`, then: `["none",["none"]]`, more: port("8071")},
		{name: "network_mode-hostname", key: "hostname", value: nil, changed: "named", read: at("Config/Hostname"), want: `"testhost"`, then: `"named"`,
			more: func(s harness.Service) harness.Service { return port("8073")(s).Composed("network_mode", "host") }},
		{name: "network_mode-bridge", key: "network_mode", value: "bridge", changed: "back", read: probe(mode),
			want: `["bridge",["bridge"]]`, then: `["back",["back"]]`},
		{name: "network_mode-container", created: data, key: "network_mode", value: "container:stranger", same: "default", changed: "none", read: probe(mode),
			want: `["default",["default"]]`, then: `["none",["none"]]`},
	}
}

// featureRows are about what feature labels add (docs/spec/engine.md 2.6). The host has /lib/modules and no
// /lib/firmware.
func featureRows(socket string) []row {
	const made = "the engine would make missing directories on the machine"
	feature := func(name, value, changed string, read probe, want, then, created string) row {
		return row{name: "feature-" + name, key: "io.balena.features." + name, value: value, changed: changed,
			read: read, want: want, then: then, created: created}
	}
	// engine.md 21.
	rows := []row{
		feature("dbus", "1", "yes", binds, `["/run/dbus:/host/run/dbus"]`, `[]`, made),
		feature("kernel-modules", "true", "0", binds, `["/lib/modules:/lib/modules"]`, `[]`, made),
		feature("firmware", "1", "0", binds, `[]`, `[]`, data),
		feature("journal-logs", "on", "off", binds,
			`["/etc/machine-id:/etc/machine-id:ro","/run/log/journal:/run/log/journal:ro","/var/log/journal:/var/log/journal:ro"]`, `[]`, made),
		feature("procfs", "1", "false", binds, `["/proc:/proc"]`, `[]`, ""),
		feature("sysfs", "TRUE", "", binds, `["/sys:/sys"]`, `[]`, ""),
		feature("balena-socket", "1", "0", all(mounts, variable("DOCKER_HOST")), strings.ReplaceAll(`[[
			{"Type":"bind","Source":"SOCKET","Target":"/host/run/balena-engine.sock"},
			{"Type":"bind","Source":"SOCKET","Target":"SOCKET"},
			{"Type":"bind","Source":"SOCKET","Target":"/var/run/balena.sock"}],"unix:///host/run/balena-engine.sock"]`, "SOCKET", socket), `[[],null]`, ""),
		feature("gpu", "1", "0", at("HostConfig/DeviceRequests"),
			`[{"Driver":"","Count":1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":null}]`, `null`, "a GPU driver is needed to start it"),
		feature("extra-firmware", "1", "0", mounts, `[{"Type":"volume","Source":"extra-firmware","Target":"/extra-firmware"}]`, `[]`, ""),
		feature("host-os.board-rev", "1", "0", all(variable("BALENA_HOST_OS_BOARD_REV"), variable("RESIN_HOST_OS_BUILD")),
			`["rev-7","rev-7"]`, `[null,null]`, data),
		feature("balena-api", "1", "0", all(variable("BALENA_API_KEY"), variable("RESIN_API_KEY"), variable("BALENA_API_URL")),
			`["devicekey","devicekey",""]`, `[null,null,null]`, data),
		feature("supervisor-api", "1", "0", all(variable("BALENA_SUPERVISOR_HOST"), mode),
			`["10.114.104.1",["default",["default","supervisor0"]]]`, `[null,["default",["default"]]]`, ""),
	}
	// engine.md 19.
	return append(rows, row{name: "feature-resin-api", created: data, key: "io.resin.features.resin-api", value: "1", changed: "0",
		read: all(variable("BALENA_API_KEY"), at("Config/Labels/io.balena.features.balena-api")), want: `["devicekey","1"]`, then: `[null,"0"]`})
}
