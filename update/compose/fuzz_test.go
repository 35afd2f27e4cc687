package compose

import (
	"encoding/json"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// A composition is refused, or gives a container that equals itself.
func FuzzResolve(f *testing.F) {
	f.Add(`{"command":"a && b","ports":["80-82",{"target":1}],"volumes":["data:/x",{"type":"tmpfs","target":"/t","tmpfs":{"size":"1m"}}]}`,
		`{"driver":"bridge","ipam":{"config":[{"subnet":"192.0.2.0/24","aux_addresses":{"a":"b"}}]}}`, `{"labels":["a"],"driver_opts":{"a":1}}`)
	f.Add(`{"networks":{"net":{"aliases":["b"]},"default":null},"depends_on":{"peer":{"condition":"x"}},"environment":["A=1"],"labels":{"io.resin.features.supervisor-api":"1"}}`, `{}`, `{}`)
	f.Add(`{"network_mode":"service:peer","hostname":"x","healthcheck":{"test":["CMD"],"interval":"1s"},"ulimits":{"a":{"soft":1}},"init":"on"}`, `{"config_only":true}`, `{}`)
	f.Add(`{"devices":["a:b:c"],"extra_hosts":{"a":["b"]},"stop_grace_period":"1.5h","shm_size":"1.5g","cpus":1e9,"restart":"on-failure:9","tmpfs":["a:b",":"]}`, `{}`, `{}`)
	f.Fuzz(func(t *testing.T, service, network, volume string) {
		var s, n, v target.Map
		if json.Unmarshal([]byte(service), &s) != nil || json.Unmarshal([]byte(network), &n) != nil || json.Unmarshal([]byte(volume), &v) != nil {
			return
		}
		app := &target.App{UUID: "5aa0", ID: 31, Name: "shop", Release: &target.Release{
			Services: map[string]*target.Service{"web": {Name: "web", Composition: s}, "peer": {Name: "peer"}},
			Networks: map[string]target.Map{"net": n}, Volumes: map[string]target.Map{"data": v}}}
		out, err := Resolve(app, testFacts(), onDevice(doc.Config{Cmd: []string{"x"}, Volumes: map[string]struct{}{"/v": {}}}))
		if err != nil {
			return
		}
		svc := out.Services["web"]
		have := ReadContainer(asMade(t, svc))
		if diff := compare(svc, have); len(diff) != 0 {
			t.Errorf("differs from itself: %v", diff)
		}
		again := FromContainer(have, nil, func(id string) string { return id[len("id-of-"):] })
		if diff := compare(again, ReadContainer(asMade(t, again))); len(diff) != 0 {
			t.Errorf("made again differs from itself: %v", diff)
		}
		checkObjects(t, out)
	})
}

func checkObjects(t *testing.T, out *App) {
	for _, n := range out.Networks {
		d := n.Doc
		have := &doc.Network{Name: n.Name, Driver: d.Driver, EnableIPv6: d.EnableIPv6, Internal: d.Internal, ConfigOnly: d.ConfigOnly,
			IPAM: d.IPAM, Options: d.Options, Labels: d.Labels}
		if diff := CompareNetwork(n, ReadNetwork(have)); len(diff) != 0 {
			t.Errorf("network differs from itself: %v", diff)
		}
	}
	for _, v := range out.Volumes {
		have := &doc.Volume{Name: v.Name, Driver: v.Doc.Driver, Labels: v.Doc.Labels, Options: v.Doc.DriverOpts}
		if diff := CompareVolume(v, ReadVolume(have)); len(diff) != 0 {
			t.Errorf("volume differs from itself: %v", diff)
		}
	}
}

// Every inspection can be read, and reading the result again changes nothing.
func FuzzReadContainer(f *testing.F) {
	f.Add(`{"Id":"0123456789abcdef","Config":{"Env":["A","=","B=1"],"Volumes":{"":{}},"Healthcheck":{}},"HostConfig":{"Binds":["a","b:c","d:e:ro,rw",":"],"PortBindings":{"80":[{}],"80/tcp":null}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var c doc.Container
		if json.Unmarshal([]byte(text), &c) != nil {
			return
		}
		have := ReadContainer(&c)
		s := FromContainer(have, c.Config.Env, func(string) string { return "" })
		if diff := Compare(s, have, func(string) string { return "" }, Capabilities{}); len(diff) != 0 {
			t.Errorf("differs from itself: %v", diff)
		}
		if body, err := CreateBody(s, func(string) string { return "x" }); err != nil {
			t.Errorf("%v %v", body, err)
		}
	})
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{"1.5g", "1h30m", `sh -c "a && b"`, "127.0.0.1:80-81:90-91/udp", "web_1_2_c0ffee", "5aa0_net", "31_data"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseSize(s); ok && n < 0 {
			t.Errorf("size %q is %d", s, n)
		}
		if d, ok := parseDuration(s); ok && d < 0 {
			t.Errorf("duration %q is %v", s, d)
		}
		if p, err := parsePort(s); err == nil && (p.n < 0 || p.first+p.n > 65535 || p.host+p.n > 65535) {
			t.Errorf("port %q is %+v", s, p)
		}
		splitWords(s)
		if id, name, ok := ParseVolumeName(s); ok && id < 0 || ok && name == "" {
			t.Errorf("volume %q is %d %q", s, id, name)
		}
		if service, image, release, commit, ok := ParseContainerName(s); ok {
			again, _, _, _, ok := ParseContainerName(ContainerName(service, image, release, commit))
			if !ok || again != service {
				t.Errorf("container %q becomes %q", s, again)
			}
		}
	})
}
