package compose

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// fullService and fullLists are compositions with every known key on all levels. A key with two forms is a mapping in
// one and a list in the other.
const (
	fullService = `{"command":["a","b"],"entrypoint":["c"],"environment":{"A":"1","B":2},"labels":{"a":"b","io.balena.update.strategy":"hand-over"},
		"tty":false,"user":"1","working_dir":"/w","domainname":"d","hostname":"h","mac_address":"02:00:00:00:00:0a","stop_signal":"SIGINT",
		"stop_grace_period":"5s","healthcheck":{"test":["CMD","x"],"interval":"1s","timeout":"2s","start_period":"3s","retries":4,"disable":false},
		"ports":["80:80",{"target":81,"published":8081,"host_ip":"127.0.0.1","protocol":"udp","mode":"host","name":"n","app_protocol":"http"}],
		"volumes":["data:/a","/b",{"type":"volume","source":"data","target":"/c","read_only":true,"consistency":"x",
			"volume":{"nocopy":true},"bind":{"propagation":"x"},"tmpfs":{"size":5,"mode":7}},
			{"type":"tmpfs","target":"/d","tmpfs":{"size":"1m","mode":7}}],
		"tmpfs":["/t:size=1m","/u"],"networks":{"front":{"aliases":["x","y"],"ipv4_address":"1.2.3.4","ipv6_address":"fd00::1","link_local_ips":["169.254.1.1"]},"back":{}},
		"cap_add":["A","B"],"cap_drop":["C"],"cgroup_parent":"/p","cpuset":"0","cpu_shares":1,"cpu_quota":2,"cpus":3,"mem_limit":"4m",
		"mem_reservation":5,"shm_size":6,"oom_kill_disable":true,"oom_score_adj":7,"pids_limit":8,"devices":["/dev/a",{"source":"/dev/b","target":"/dev/c","permissions":"r"}],
		"dns":["1.1.1.1"],"dns_search":["s"],"dns_opt":["o"],"extra_hosts":{"a":"1.2.3.4","b":["1.2.3.5","1.2.3.6"]},"group_add":[1,"2"],"init":true,"ipc":"host",
		"pid":"host","privileged":true,"read_only":true,"restart":"no","security_opt":["a=b"],"sysctls":{"a":1},
		"ulimits":{"nofile":5,"core":{"soft":1,"hard":2}},"userns_mode":"host","storage_opt":{"size":"1g"},
		"depends_on":{"db":{"condition":"service_healthy","required":false,"restart":true}},"image":"x","running":true,"build":{"context":"."}}`
	fullLists = `{"environment":["A=1","B=2"],"labels":["a=b","c"],"command":"a b","entrypoint":"c","healthcheck":{"test":"x"},"tmpfs":"/t","dns":"1.1.1.1",
		"dns_search":"s","extra_hosts":["a:1.2.3.4","b=1.2.3.5"],"sysctls":["a=1"],"network_mode":"service:db","depends_on":["db"],"volumes":["data:/a"],"ports":[80]}`
	fullObject = `{"driver":"x","driver_opts":{"a":"b"},"labels":{"c":"d"},"enable_ipv6":true,"internal":true,"config_only":true,"external":true,
		"ipam":{"driver":"y","options":{"e":"f"},"config":[{"subnet":"10.1.0.0/24","gateway":"10.1.0.1","ip_range":"10.1.0.0/25","aux_addresses":{"g":"10.1.0.9"}}]}}`
)

// nulls calls try twice for each value of a tree: with null, and with the value that null means. It means an absent
// value, an empty label, or an item without options.
func nulls(value any, path string, set func(any), try func(path string, other func())) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at := path + "/" + key
			nulls(v[key], at, func(x any) { v[key] = x }, try)
			had := v[key]
			v[key] = nil
			try(at, func() {
				switch path {
				case "/labels":
					v[key] = ""
				case "/networks", "/depends_on":
					v[key] = map[string]any{}
				default:
					delete(v, key)
				}
			})
			v[key] = had
		}
	case []any:
		for i := range v {
			had := v[i]
			nulls(v[i], path, func(x any) { v[i] = x }, try)
			v[i] = nil
			try(path, func() { set(slices.Delete(slices.Clone(v), i, i+1)) })
			v[i] = had
			set(v)
		}
	}
}

// YAML turns a key without a value into null, which means unset everywhere.
func TestNullIsUnset(t *testing.T) {
	f := func(text string, resolve func(m target.Map) (any, []string)) {
		t.Helper()
		root, tried := decode(t, text), 0
		if whole, warnings := resolve(root); whole == nil || len(warnings) > 3 {
			t.Errorf("the whole is not understood: %q", warnings)
		}
		nulls(root, "", nil, func(path string, other func()) {
			tried++
			got, warned := resolve(root)
			other()
			want, warnings := resolve(root)
			if !reflect.DeepEqual(got, want) || !slices.Equal(warned, warnings) {
				t.Errorf("%s: null\n%s %q\nwant\n%s %q", path, show(got), warned, show(want), warnings)
			}
		})
		t.Logf("%d places", tried)
		if tried < strings.Count(text, ":")/2 {
			t.Errorf("%d places", tried)
		}
	}
	try := func(app *target.App) (any, []string) {
		out, err := Resolve(app, testFacts(), onDevice(doc.Config{}))
		if err != nil {
			return nil, []string{err.Error()}
		}
		out.Source = nil
		return out, out.Warnings
	}
	service := func(m target.Map) (any, []string) {
		app := release(t, `{}`)
		app.Release.Services["web"].Composition = m
		app.Release.Services["db"] = &target.Service{Name: "db", Image: "db"}
		return try(app)
	}
	f(fullService, service)
	f(fullLists, service)
	f(fullObject, func(m target.Map) (any, []string) {
		app := release(t, `{}`)
		app.Release.Networks["front"] = m
		return try(app)
	})
	f(fullObject, func(m target.Map) (any, []string) {
		app := release(t, `{}`)
		app.Release.Volumes["data"] = m
		return try(app)
	})
}

func show(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// White space around the parts of service:x and similar texts is ignored.
func TestWhiteSpaceInModes(t *testing.T) {
	f := func(key, spaced, plain string) {
		t.Helper()
		resolve := func(value string) (any, []string) {
			app := release(t, `{"`+key+`":"`+value+`"}`)
			app.Release.Services["db"] = &target.Service{Name: "db", Image: "db"}
			out, err := Resolve(app, testFacts(), onDevice(doc.Config{}))
			if err != nil {
				t.Fatalf("%s %q: %v", key, value, err)
			}
			return out.Services["web"], out.Warnings
		}
		got, warned := resolve(spaced)
		want, warnings := resolve(plain)
		if !reflect.DeepEqual(got, want) || !slices.Equal(warned, warnings) {
			t.Errorf("%s %q is another than %q: %s %q", key, spaced, plain, show(got), warned)
		}
	}
	f("network_mode", "service: db", "service:db")
	f("network_mode", " service :  db ", "service:db")
	f("network_mode", "container: db", "container:db")
	f("network_mode", " host ", "host")
	f("network_mode", " front ", "front")
	f("ipc", "container: abc", "container:abc")
	f("ipc", " host", "host")
	f("pid", "container: abc", "container:abc")
	f("userns_mode", " host ", "host")
	f("restart", " On-failure : 3 ", "on-failure:3")
	if s, _ := web(t, `{"network_mode":" container: x"}`); s.Container.Doc.HostConfig.NetworkMode != "5aa0_default" {
		t.Error("the network of a foreign container is shared")
	}
}
