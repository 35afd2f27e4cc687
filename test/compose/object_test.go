package compose_test

import (
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
)

// option is one way to define a network or volume, and another one.
type option struct {
	name           string
	value, changed dict
	same           dict // another way to say value
	read           probe
	want, then     string
}

func (o option) again() dict {
	if o.same != nil {
		return o.same
	}
	return o.value
}

// networkOptions are the keys of a top-level network (docs/spec/engine.md 3.2).
func networkOptions() []option {
	pool := func(more dict) dict {
		p := dict{"subnet": "10.79.0.0/24", "gateway": "10.79.0.1"}
		for key, value := range more {
			p[key] = value
		}
		return dict{"ipam": dict{"config": list{p}}}
	}
	six := dict{"config": list{dict{"subnet": "fd00:81::/64", "gateway": "fd00:81::1"}, dict{"subnet": "10.81.0.0/24", "gateway": "10.81.0.1"}}}
	only := dict{"config": list{dict{"subnet": "10.82.0.0/24", "gateway": "10.82.0.1"}}}
	const icc = "com.docker.network.bridge.enable_icc"
	return []option{
		{name: "driver_opts", value: dict{"driver": "bridge", "driver_opts": dict{icc: false}}, same: dict{"driverOpts": dict{icc: "false"}},
			changed: dict{"driver_opts": dict{icc: "true"}}, read: at("Options/" + icc), want: `"false"`, then: `"true"`},
		{name: "enable_ipv6", value: dict{"enable_ipv6": true, "ipam": six}, changed: dict{"enable_ipv6": false, "ipam": six}, read: at("EnableIPv6"),
			want: `true`, then: `false`},
		{name: "internal", value: dict{"internal": true}, changed: dict{}, read: at("Internal"), want: `true`, then: `false`},
		{name: "config_only", value: dict{"config_only": true, "ipam": only}, changed: dict{"ipam": only},
			read: at("ConfigOnly"), want: `true`, then: `false`},
		{name: "labels", value: dict{"labels": dict{"a": 1}}, same: dict{"labels": list{"a=1"}}, changed: dict{"labels": dict{"a": 2}},
			read: at("Labels/a"), want: `"1"`, then: `"2"`},
		{name: "ipam-options", value: dict{"ipam": dict{"driver": "default", "options": dict{"a": "1"}}}, same: dict{"ipam": dict{"options": dict{"a": 1}}},
			changed: dict{"ipam": dict{"options": dict{"a": "2"}}}, read: at("IPAM/Options"), want: `{"a":"1"}`, then: `{"a":"2"}`},
		// engine.md 31: D16.
		{name: "ipam-config", value: pool(dict{"ip_range": "10.79.0.128/25", "aux_addresses": dict{"a": "10.79.0.5"}}),
			same:    pool(dict{"ipRange": "10.79.0.128/25", "auxAddresses": dict{"a": "10.79.0.5"}}),
			changed: pool(dict{"ip_range": "10.79.0.128/25", "aux_addresses": dict{"a": "10.79.0.6"}}), read: at("IPAM/Config"),
			want: `[{"Subnet":"10.79.0.0/24","Gateway":"10.79.0.1","IPRange":"10.79.0.128/25","AuxiliaryAddresses":{"a":"10.79.0.5"}}]`,
			then: `[{"Subnet":"10.79.0.0/24","Gateway":"10.79.0.1","IPRange":"10.79.0.128/25","AuxiliaryAddresses":{"a":"10.79.0.6"}}]`},
		// engine.md 37.
		{name: "ipam-added", value: dict{}, changed: dict{"ipam": dict{"config": list{dict{"subnet": "10.80.0.0/24", "gateway": "10.80.0.1"}}}},
			read: at("Labels/io.balena.private.ipam.config"), want: `null`, then: `"true"`},
		{name: "ipam-dropped", value: dict{"ipam": dict{"config": list{dict{"subnet": "10.83.0.0/24", "gateway": "10.83.0.1"}}}}, changed: dict{},
			read: at("Labels/io.balena.private.ipam.config"), want: `"true"`, then: `null`},
	}
}

// engine.md 31, 37: every network option reaches the engine, does not flap and is seen when it changes.
func TestEveryNetworkOption(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("table/app:v1").Load(t)
	options := networkOptions()
	app := func(release int, pick func(o option) dict) harness.Target {
		a := shop(release)
		a.Networks = dict{"control": dict{}}
		for _, o := range options {
			a.Networks[o.name] = pick(o)
		}
		return harness.TargetOf(a, marker(release, image))
	}
	read := func(name string) inspected { return inspect(t, s.Engine, "/networks/"+shopID+"_"+name) }
	ids := func() map[string]any {
		found := map[string]any{"control": read("control")["Id"]}
		for _, o := range options {
			found[o.name] = read(o.name)["Id"]
		}
		return found
	}
	shown := func(o option, want string) {
		t.Helper()
		if got := o.read(read(o.name)); !sameJSON(got, want) {
			t.Errorf("%s: the engine has %s, want %s", o.name, asJSON(got), want)
		}
	}
	apply(t, s, app(1, func(o option) dict { return o.value }))
	for _, o := range options {
		shown(o, o.want)
	}
	before := ids()
	s.Restart()
	apply(t, s, app(2, option.again))
	for name, id := range ids() {
		if id != before[name] {
			t.Errorf("%s was recreated without a change", name)
		}
	}
	apply(t, s, app(3, func(o option) dict { return o.changed }))
	for name, id := range ids() {
		if (id == before[name]) != (name == "control") {
			t.Errorf("%s: recreated %v", name, id != before[name])
		}
	}
	for _, o := range options {
		shown(o, o.then)
	}
}

// engine.md 40, 41: a volume stays with its data until its own definition changes; one without labels
// is taken as it is.
func TestVolumeIsRecreatedOnlyForItsOwnChange(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("table/app:v1").Load(t)
	s.Engine.Must(t, http.MethodPost, "/volumes/create", dict{"Name": "31_found"}, nil)
	app := func(release int, size, colour string) harness.Target {
		uses := func(name string, id int) harness.Service {
			return image.Service(name, id).Composed("volumes", list{name + ":/data"})
		}
		a := shop(release, uses("sized", 1), uses("labelled", 2), uses("kept", 3), uses("found", 4))
		a.Volumes = dict{
			"sized":    dict{"driver": "local", "driver_opts": dict{"type": "tmpfs", "device": "tmpfs", "o": "size=" + size}},
			"labelled": dict{"labels": dict{"colour": colour}},
			"kept":     dict{}, "found": dict{"labels": dict{"mine": "1"}},
		}
		return harness.TargetOf(a)
	}
	apply(t, s, app(1, "64k", "red"))
	before := s.Containers()
	for name, c := range before {
		harness.MustAsk(t, c, http.MethodPut, "/file?path=/data/kept", name)
	}
	if got := s.Engine.Volumes(t)["31_sized"]; got.Options["o"] != "size=64k" || got.Labels["io.balena.app-uuid"] != shopID {
		t.Errorf("31_sized reads %+v", got)
	}
	s.Restart()
	apply(t, s, app(2, "64k", "red"))
	for name, c := range s.Containers() {
		if c.ID != before[name].ID {
			t.Errorf("%s was replaced without a change", name)
		}
	}
	apply(t, s, app(3, "128k", "blue"))
	now, volumes := s.Containers(), s.Engine.Volumes(t)
	if volumes["31_sized"].Options["o"] != "size=128k" || volumes["31_labelled"].Labels["colour"] != "blue" || len(volumes["31_found"].Labels) != 0 {
		t.Errorf("volumes read %+v", volumes)
	}
	for name, c := range now {
		fresh := name == "sized" || name == "labelled"
		if (c.ID != before[name].ID) != fresh {
			t.Errorf("%s: replaced %v, want %v", name, c.ID != before[name].ID, fresh)
		}
		harness.VersionOf(t, c)
		status, got, err := harness.Ask(c, http.MethodGet, "/file?path=/data/kept", "")
		if err != nil || (status == http.StatusOK && got == name) == fresh {
			t.Errorf("%s: its volume holds %d %q %v", name, status, got, err)
		}
	}
}
