package compose

import (
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
)

// Each composition differs from the empty one in one field. The container of each must differ from the target of the
// other in that field alone, and equal its own target (conformance 28, 29).
func TestCompareSeesEveryField(t *testing.T) {
	plain, _ := web(t, `{}`)
	plainMade := ReadContainer(asMade(t, plain))
	f := func(field, composition string) {
		t.Helper()
		changed, _ := web(t, composition)
		made := ReadContainer(asMade(t, changed))
		if diff := compare(changed, made); len(diff) != 0 {
			t.Errorf("%s differs from itself: %v", composition, diff)
		}
		for _, diff := range [][]Difference{compare(changed, plainMade), compare(plain, made)} {
			if len(diff) == 0 {
				t.Errorf("%s: no difference seen", composition)
			}
			for _, d := range diff {
				if d.Field != field || d.Have == d.Want {
					t.Errorf("%s: %v, want a difference in %s", composition, d, field)
				}
			}
		}
	}
	f("command", `{"command":"run it"}`)
	f("entrypoint", `{"entrypoint":["a"]}`)
	f("environment MODE", `{"environment":{"MODE":"prod"}}`)
	f("label a", `{"labels":{"a":"b"}}`)
	f("tty", `{"tty":false}`)
	f("user", `{"user":1000}`)
	f("working_dir", `{"working_dir":"/x"}`)
	f("domainname", `{"domainname":"example.org"}`)
	f("hostname", `{"hostname":"x"}`)
	f("mac_address", `{"mac_address":"02:00:00:00:00:01"}`)
	f("stop_signal", `{"stop_signal":"SIGINT"}`)
	f("stop_grace_period", `{"stop_grace_period":"0s"}`) // D7
	f("stop_grace_period", `{"stop_grace_period":"1m"}`)
	f("healthcheck", `{"healthcheck":{"test":"true"}}`)
	f("ports", `{"ports":[80]}`)
	f("volumes (anonymous)", `{"volumes":["/x"]}`)
	f("volumes", `{"volumes":["data:/x"]}`)
	f("volumes (mounts)", `{"volumes":[{"type":"tmpfs","target":"/x"}]}`)
	f("tmpfs", `{"tmpfs":"/run"}`)
	f("cap_add", `{"cap_add":["NET_ADMIN"]}`)
	f("cap_drop", `{"cap_drop":["ALL"]}`)
	f("cgroup_parent", `{"cgroup_parent":"x"}`)
	f("cpuset", `{"cpuset":"0-1"}`)
	f("cpu_shares", `{"cpu_shares":"512"}`)
	f("cpu_quota", `{"cpu_quota":1000}`)
	f("cpus", `{"cpus":0.5}`) // D10
	f("mem_limit", `{"mem_limit":"64m"}`)
	f("mem_reservation", `{"mem_reservation":"64m"}`)
	f("shm_size", `{"shm_size":"65m"}`)
	f("oom_kill_disable", `{"oom_kill_disable":true}`)
	f("oom_score_adj", `{"oom_score_adj":-5}`)
	f("pids_limit", `{"pids_limit":100}`)
	f("devices", `{"devices":["/dev/null"]}`)
	f("dns", `{"dns":"192.0.2.1"}`)
	f("dns_search", `{"dns_search":"example.org"}`)
	f("dns_opt", `{"dns_opt":["ndots:1"]}`)
	f("extra_hosts", `{"extra_hosts":["a:192.0.2.1"]}`)
	f("group_add", `{"group_add":[5]}`)
	f("init", `{"init":true}`)
	f("ipc", `{"ipc":"host"}`)
	f("pid", `{"pid":"host"}`)
	f("privileged", `{"privileged":true}`)
	f("read_only", `{"read_only":true}`)
	f("restart", `{"restart":"no"}`)
	f("restart", `{"restart":"on-failure:3"}`)
	f("security_opt", `{"security_opt":["no-new-privileges"]}`)
	f("sysctls", `{"sysctls":{"net.core.somaxconn":1}}`)
	f("ulimits", `{"ulimits":{"core":0}}`)
	f("userns_mode", `{"userns_mode":"host"}`)
	f("storage_opt", `{"storage_opt":{"size":"1g"}}`) // D11
}

// Order counts only for the fields in which it has a meaning (D8, conformance 32).
func TestCompareOrder(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		want, _ := web(t, a)
		other, _ := web(t, b)
		if diff := compare(want, ReadContainer(asMade(t, other))); (len(diff) == 0) != same {
			t.Errorf("%s and %s: %v", a, b, diff)
		}
	}
	f(`{"cap_add":["A","B"]}`, `{"cap_add":["cap_b","CAP_A","a"]}`, true)
	f(`{"devices":["/dev/a","/dev/b"]}`, `{"devices":["/dev/b:/dev/b:rwm","/dev/a"]}`, true)
	f(`{"volumes":["data:/a","data:/b:rw"]}`, `{"volumes":["data:/b/","data:/a"]}`, true)
	f(`{"volumes":[{"type":"volume","source":"data","target":"/a","volume":{"nocopy":false}},{"type":"tmpfs","target":"/b"}]}`,
		`{"volumes":[{"type":"tmpfs","target":"/b","tmpfs":{"size":0}},{"type":"volume","source":"data","target":"/a"}]}`, true)
	f(`{"tmpfs":["/a","/b"]}`, `{"tmpfs":["/b","/a"]}`, true)
	f(`{"extra_hosts":["a:1","b:2"]}`, `{"extra_hosts":{"b":"2","a":"1"}}`, true)
	f(`{"group_add":["a","b"]}`, `{"group_add":["b","a"]}`, true)
	f(`{"dns_opt":["a","b"]}`, `{"dns_opt":["b","a"]}`, true)
	f(`{"security_opt":["a","b"]}`, `{"security_opt":["b","label=disable","a"]}`, true)
	f(`{"ulimits":{"core":1,"nofile":2}}`, `{"ulimits":{"nofile":{"soft":2},"core":"1"}}`, true)
	f(`{"ports":["80-81"]}`, `{"ports":["81","80:80/tcp"]}`, true)
	f(`{"networks":["front","back"]}`, `{"networks":["back","front"]}`, true)
	f(`{"volumes":["data:/a:z,ro"]}`, `{"volumes":["data:/a:ro,z"]}`, true)
	f(`{"dns":["1","2"]}`, `{"dns":["2","1"]}`, false)
	f(`{"dns_search":["1","2"]}`, `{"dns_search":["2","1"]}`, false)
	f(`{"command":["1","2"]}`, `{"command":["2","1"]}`, false)
	f(`{"volumes":["data:/a:ro"]}`, `{"volumes":["data:/a"]}`, false)
}

// Containers that people or other engines created are equal if they behave alike.
func TestReadContainerFormsOfTheSame(t *testing.T) {
	s, _ := web(t, `{"command":"x","cap_add":["NET_ADMIN"],"networks":["front"]}`)
	f := func(what string, change func(c *doc.Container), same bool) {
		t.Helper()
		c := asMade(t, s)
		change(c)
		if diff := compare(s, ReadContainer(c)); (len(diff) == 0) != same {
			t.Errorf("%s: %v", what, diff)
		}
	}
	no, yes := false, true
	zero, minus := int64(0), int64(-1)
	name := NetworkName("5aa0", "front")
	endpoint := func(change func(e *doc.Endpoint)) func(c *doc.Container) {
		return func(c *doc.Container) {
			e := c.NetworkSettings.Networks[name]
			change(&e)
			c.NetworkSettings.Networks[name] = e
		}
	}
	f("nothing", func(*doc.Container) {}, true)
	f("no stop timeout", func(c *doc.Container) { c.Config.StopTimeout = nil }, true)
	f("no stop signal", func(c *doc.Container) { c.Config.StopSignal = "" }, true)
	f("no healthcheck", func(c *doc.Container) { c.Config.Healthcheck = nil }, true)
	f("healthcheck without test", func(c *doc.Container) { c.Config.Healthcheck = &doc.Health{Interval: 5} }, true)
	f("oom false", func(c *doc.Container) { c.HostConfig.OomKillDisable = &no }, true)
	f("oom true", func(c *doc.Container) { c.HostConfig.OomKillDisable = &yes }, false)
	f("pids 0", func(c *doc.Container) { c.HostConfig.PidsLimit = &zero }, true)
	f("pids -1", func(c *doc.Container) { c.HostConfig.PidsLimit = &minus }, true)
	f("empty instead of null", func(c *doc.Container) {
		c.HostConfig.Binds = append([]string{}, c.HostConfig.Binds...)
		c.HostConfig.Mounts, c.HostConfig.Tmpfs = []doc.Mount{}, map[string]string{}
		c.HostConfig.PortBindings = map[string][]doc.PortBinding{"80/tcp": nil}
		c.HostConfig.DeviceRequests, c.HostConfig.Ulimits = []doc.DeviceRequest{}, []doc.Ulimit{}
		c.Config.Entrypoint, c.Config.Volumes = nil, map[string]struct{}{}
	}, true)
	f("caps with CAP_", func(c *doc.Container) { c.HostConfig.CapAdd = []string{"CAP_NET_ADMIN"} }, true)
	f("engine's own fields", func(c *doc.Container) {
		c.HostConfig.Runtime, c.HostConfig.CgroupnsMode, c.HostConfig.UTSMode = "runc", "host", "x"
		c.HostConfig.LogConfig = &doc.LogConfig{Type: "journald"}
		c.Config.ExposedPorts = map[string]struct{}{"99/tcp": {}}
	}, true)
	f("privileged label option", func(c *doc.Container) { c.HostConfig.SecurityOpt = []string{"label=disable"} }, true)
	f("default ipc", func(c *doc.Container) { c.HostConfig.IpcMode = "" }, true)
	f("no shm size", func(c *doc.Container) { c.HostConfig.ShmSize = 0 }, true)
	f("odd environment", func(c *doc.Container) { c.Config.Env = append(c.Config.Env, "ODD", "=x") }, true)
	f("old spelling of labels", func(c *doc.Container) {
		c.Config.Labels = map[string]string{"io.resin.supervised": "true", "io.resin.app-id": "31", "io.resin.service-id": "92",
			"io.resin.service-name": "web", "io.resin.app-uuid": "5aa0"}
	}, true)
	f("old device name", func(c *doc.Container) { c.Config.Env = append(c.Config.Env, "BALENA_DEVICE_NAME_AT_INIT=other") }, true)
	f("created by image name", func(c *doc.Container) { c.Config.Image = "reg.example/web" }, true)
	f("other image", func(c *doc.Container) { c.Config.Image = "sha256:ffff" }, false)
	f("given hostname", func(c *doc.Container) { c.Config.Hostname = "other" }, false)
	f("more aliases", endpoint(func(e *doc.Endpoint) { e.Aliases = append(e.Aliases, "0123456789ab", "x") }), true)
	f("no short id", endpoint(func(e *doc.Endpoint) { e.Aliases = []string{"web"} }), true)
	f("lost alias", endpoint(func(e *doc.Endpoint) { e.Aliases = nil }), false)
	f("empty IPAMConfig", endpoint(func(e *doc.Endpoint) { e.IPAMConfig = &doc.EndpointIPAM{} }), true)
	f("address of its own", endpoint(func(e *doc.Endpoint) { e.MacAddress = "02:42:ac:11:00:02" }), true)
	f("engine network", func(c *doc.Container) { c.NetworkSettings.Networks["bridge"] = doc.Endpoint{} }, true)
	f("left a network", func(c *doc.Container) { c.NetworkSettings.Networks["5aa0_back"] = doc.Endpoint{} }, false) // D24
	f("not joined", func(c *doc.Container) { c.NetworkSettings.Networks = nil }, false)
	f("legacy service id", func(c *doc.Container) {
		c.Config.Labels[labelServiceID], c.Config.Labels["io.balena.legacy-container"] = "1", "1"
	}, false) // the label itself still differs
	f("other service id", func(c *doc.Container) { c.Config.Labels[labelServiceID] = "1" }, false)
	f("volume among binds", func(c *doc.Container) { c.HostConfig.Binds = append(c.HostConfig.Binds, "/anon") }, false)
}

func TestLegacyContainerKeepsItsServiceID(t *testing.T) {
	s, _ := web(t, `{"labels":{"io.resin.legacy-container":"1"}}`)
	c := asMade(t, s)
	c.Config.Labels[labelServiceID] = "1"
	if diff := compare(s, ReadContainer(c)); len(diff) != 0 {
		t.Error(diff)
	}
}

func TestReadContainerOneLetterAlias(t *testing.T) {
	e := readEndpoints(&doc.Container{Id: "abcdef0123456789", NetworkSettings: doc.NetworkSettings{
		Networks: map[string]doc.Endpoint{"n": {Aliases: []string{"a", "abcdef012345"}}}}})
	if got := e["n"].Aliases; len(got) != 1 || got[0] != "a" {
		t.Errorf("aliases %q", got)
	}
}

// D26.
func TestCompareWithoutOomKill(t *testing.T) {
	s, _ := web(t, `{"oom_kill_disable":true}`)
	c := asMade(t, s)
	c.HostConfig.OomKillDisable = nil
	have := ReadContainer(c)
	if diff := Compare(s, have, nil, Capabilities{NoOomKill: true}); len(diff) != 0 {
		t.Error(diff)
	}
	if diff := Compare(s, have, nil, Capabilities{}); len(diff) != 1 || diff[0].Field != "oom_kill_disable" {
		t.Error(diff)
	}
}

// Newer engines show a chosen MAC address only in the endpoint.
func TestCompareMacAddressOfNewEngines(t *testing.T) {
	s, _ := web(t, `{"mac_address":"02:00:00:00:00:0A"}`)
	c := asMade(t, s)
	c.Config.MacAddress = ""
	if diff := compare(s, ReadContainer(c)); len(diff) != 0 {
		t.Error(diff)
	}
	other, _ := web(t, `{"mac_address":"02:00:00:00:00:0b"}`)
	if diff := compare(other, ReadContainer(c)); len(diff) != 1 || diff[0].Field != "mac_address" {
		t.Error(diff)
	}
}

// While the image is unknown, only the image differs.
func TestCompareUnknownImage(t *testing.T) {
	app := release(t, `{"command":"x"}`)
	out, err := Resolve(app, testFacts(), func(string) *doc.Image { return nil })
	if err != nil {
		t.Fatal(err)
	}
	s := out.Services["web"]
	if s.ImageKnown || s.Container.Doc.Image != "reg.example/web@sha256:aa" {
		t.Errorf("known %v, image %s", s.ImageKnown, s.Container.Doc.Image)
	}
	known, _ := web(t, `{"command":"y"}`)
	diff := compare(s, ReadContainer(asMade(t, known)))
	if len(diff) != 1 || diff[0].String() != `image: "sha256:0c1d" -> "reg.example/web@sha256:aa"` {
		t.Error(diff)
	}
}

func TestDifferenceTexts(t *testing.T) {
	f := func(have, want, text string) {
		t.Helper()
		h, _ := web(t, have)
		w, _ := web(t, want)
		var got []string
		for _, d := range compare(w, ReadContainer(asMade(t, h))) {
			got = append(got, d.String())
		}
		if all := strings.Join(got, "; "); all != text {
			t.Errorf("%s to %s: %s", have, want, all)
		}
	}
	f(`{"environment":{"MODE":"prod"}}`, `{"environment":{"MODE":"test"}}`, `environment MODE changed`)
	f(`{}`, `{"environment":{"MODE":""}}`, `environment MODE added`)
	f(`{"environment":{"MODE":""}}`, `{}`, `environment MODE removed`)
	f(`{"command":"run --pin 1234"}`, `{"command":"run"}`, `command changed`)
	f(`{"entrypoint":"run"}`, `{"entrypoint":"run --pin 1234"}`, `entrypoint changed`)
	f(`{"healthcheck":{"test":"x"}}`, `{"healthcheck":{"test":"y"}}`, `healthcheck changed`)
	f(`{"labels":{"a":"abc"}}`, `{"labels":{"a":"abd"}}`, `label a changed`)
	f(`{"labels":{"a":"abc"}}`, `{}`, `label a removed`)
	f(`{"ports":["80-82"]}`, `{"ports":["80-81"]}`, `ports: 80-82->80-82/tcp -> 80-81->80-81/tcp`)
	f(`{"cap_add":["A","B"]}`, `{"cap_add":["B","C"]}`, `cap_add: ["A"] -> ["C"]`)
	f(`{"networks":["front"]}`, `{"networks":["front","back"]}`, `networks: none -> 5aa0_back`)
	f(`{"privileged":true}`, `{}`, `privileged: true -> false`)
	long := strings.Repeat("x", 100)
	f(`{"user":"`+long+`a"}`, `{"user":"`+long+`b"}`, `user: …xxxxxxxxxxa" -> …xxxxxxxxxxb"`)
	f(`{"user":"`+long+`"}`, `{"user":"y"}`, `user: "`+strings.Repeat("x", 58)+`… -> "y"`)
}
