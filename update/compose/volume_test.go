package compose

import (
	"reflect"
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// Conformance 20, 32 and spec 2.7.
func TestServiceVolumes(t *testing.T) {
	plain, _ := web(t, `{}`)
	f := func(volumes string, binds []string, mounts []doc.Mount, anonymous []string, warned bool) {
		t.Helper()
		s, warnings := web(t, `{"volumes":`+volumes+`}`)
		d := s.Container.Doc
		if got := without(d.HostConfig.Binds, plain.Container.Doc.HostConfig.Binds); !reflect.DeepEqual(got, binds) {
			t.Errorf("%s: binds %q", volumes, got)
		}
		if !reflect.DeepEqual(d.HostConfig.Mounts, mounts) {
			t.Errorf("%s: mounts %+v", volumes, d.HostConfig.Mounts)
		}
		if got := orNilList(sortedKeys(d.Volumes)); !reflect.DeepEqual(got, anonymous) {
			t.Errorf("%s: anonymous %q", volumes, got)
		}
		if (len(warnings) > 0) != warned {
			t.Errorf("%s: warnings %q", volumes, warnings)
		}
	}
	f(`["/x"]`, nil, nil, []string{"/x"}, false)
	f(`["data:/data:ro"," other : /o/ "]`, []string{"31_data:/data:ro", "31_other:/o"}, nil, nil, false)
	f(`"data:/data"`, []string{"31_data:/data"}, nil, nil, false)
	f(`["/etc:/x"]`, nil, nil, nil, true)
	f(`["./a:/x","~/a:/x"]`, nil, nil, nil, true)
	f(`[{"type":"bind","source":"/etc","target":"/x"}]`, nil, nil, nil, true)
	f(`[{"type":"bind","target":"/x"}]`, nil, nil, nil, true)
	f(`[{"type":"tmpfs","source":"a","target":"/x"}]`, nil, nil, nil, true)
	f(`[{"type":"volume","source":"/etc","target":"/x"}]`, nil, nil, nil, true)
	f(`[{"type":"npipe","source":"a","target":"/x"}]`, nil, nil, nil, true)
	f(`[5]`, nil, nil, nil, true)
	f(`[{"type":"volume","target":"/x"}]`, nil, []doc.Mount{{Type: "volume", Target: "/x"}}, nil, false)
	f(`[{"type":"volume","source":"data","target":"/x","read_only":true,"volume":{"nocopy":true}}]`, nil,
		[]doc.Mount{{Type: "volume", Source: "31_data", Target: "/x", ReadOnly: true, VolumeOptions: &doc.VolumeOptions{NoCopy: true}}}, nil, false)
	f(`[{"type":"volume","source":"data","target":"/x","volume":{"nocopy":false},"tmpfs":{"size":5}}]`, nil,
		[]doc.Mount{{Type: "volume", Source: "31_data", Target: "/x"}}, nil, false)
	f(`[{"type":"tmpfs","target":"/b","tmpfs":{"size":"1m","mode":"1777"}},{"type":"tmpfs","target":"/a","tmpfs":{"mode":493}}]`, nil,
		[]doc.Mount{{Type: "tmpfs", Target: "/a", TmpfsOptions: &doc.TmpfsOptions{Mode: 0o755}},
			{Type: "tmpfs", Target: "/b", TmpfsOptions: &doc.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o1777}}}, nil, false)
	f(`[{"type":"volume","source":"data","target":"/x","volume":{"subpath":"a"}}]`, nil,
		[]doc.Mount{{Type: "volume", Source: "31_data", Target: "/x"}}, nil, true)
}

// A container inherits the anonymous volumes of the one before it, where it has an anonymous volume. They are never
// compared.
func TestInherit(t *testing.T) {
	volume := func(digit string) string { return strings.Repeat(digit, 64) }
	handed := map[string]string{"/x": volume("a"), "/y": volume("b"), "/gone": volume("c"), "/named": volume("d"), "/tmp2": volume("e")}
	s := resolve(t, release(t, `{"volumes":["/x","data:/named:ro",{"type":"volume","target":"/y"},{"type":"volume","target":"/z"}],"tmpfs":["/tmp2"]}`),
		doc.Config{Volumes: map[string]struct{}{"/named": {}, "/tmp2": {}, "/other": {}}}).Services["web"]
	body, err := CreateBody(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.Container.Doc.HostConfig.Binds)
	Inherit(body, s, handed)
	if got := without(body.HostConfig.Binds, s.Container.Doc.HostConfig.Binds); !reflect.DeepEqual(got, []string{volume("a") + ":/x"}) {
		t.Errorf("binds %q", got)
	}
	if got := body.HostConfig.Mounts; len(got) != 2 || got[0].Source != volume("b") || got[1].Source != "" {
		t.Errorf("mounts %+v", got)
	}
	if h := s.Container.Doc.HostConfig; len(h.Binds) != before || h.Mounts[0].Source != "" {
		t.Error("the service itself was changed")
	}
	made := asMade(t, s)
	made.HostConfig.Binds, made.HostConfig.Mounts = append(body.HostConfig.Binds, volume("f")+":/other:rw"), body.HostConfig.Mounts
	have := ReadContainer(made)
	if diff := compare(s, have); len(diff) != 0 {
		t.Errorf("the container differs: %v", diff)
	}
	if got := have.NamedVolumes(); !reflect.DeepEqual(got, []string{"31_data"}) {
		t.Errorf("named are %q", got)
	}
}

func TestNamedVolumes(t *testing.T) {
	s, _ := web(t, `{"volumes":["data:/a","/anon",{"type":"volume","source":"long","target":"/b"},{"type":"volume","target":"/c"}],
		"labels":{"io.balena.features.extra-firmware":"1","io.balena.features.balena-socket":"1"}}`)
	if got := s.Container.NamedVolumes(); !reflect.DeepEqual(got, []string{"31_data", "31_long", "extra-firmware"}) {
		t.Errorf("volumes %q", got)
	}
}

func TestVolumeDocument(t *testing.T) {
	app := release(t, `{}`)
	app.Release.Volumes = map[string]target.Map{"data": nil,
		"other": decode(t, `{"driver":"nfs","driver_opts":{"n":5},"labels":{"io.resin.x":true},"external":false}`)}
	out := resolve(t, app, doc.Config{})
	want := doc.VolumeCreate{Name: "31_data", Driver: "local", Labels: map[string]string{"io.balena.supervised": "true", "io.balena.app-uuid": "5aa0"}}
	if got := out.Volumes["31_data"].Doc; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	want = doc.VolumeCreate{Name: "31_other", Driver: "nfs", DriverOpts: map[string]string{"n": "5"},
		Labels: map[string]string{"io.balena.supervised": "true", "io.balena.app-uuid": "5aa0", "io.balena.x": "true"}}
	if got := out.Volumes["31_other"].Doc; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if !anyContains(out.Warnings, "volume other: ignored compose keys: external") {
		t.Errorf("warnings %q", out.Warnings)
	}
}

// Conformance 40, 41.
func TestCompareVolume(t *testing.T) {
	f := func(composition string, have doc.Volume, fields ...string) {
		t.Helper()
		app := release(t, `{}`)
		app.Release.Volumes["data"] = decode(t, composition)
		want := resolve(t, app, doc.Config{}).Volumes["31_data"]
		have.Name = want.Name
		var got []string
		for _, d := range CompareVolume(want, ReadVolume(&have)) {
			got = append(got, d.Field)
		}
		if !reflect.DeepEqual(got, fields) {
			t.Errorf("%s: %q, want %q", composition, got, fields)
		}
	}
	ours := map[string]string{"io.balena.supervised": "true", "io.balena.app-uuid": "5aa0"}
	f(`{}`, doc.Volume{Driver: "local", Labels: ours})
	f(`{}`, doc.Volume{Driver: "local"})
	f(`{"labels":{"a":"b"}}`, doc.Volume{Driver: "local"})
	f(`{}`, doc.Volume{Driver: "local", Labels: map[string]string{"io.resin.supervised": "true", "io.resin.app-id": "31"}})
	f(`{"labels":{"a":"b"}}`, doc.Volume{Driver: "local", Labels: ours}, "label a")
	f(`{"driver":"nfs"}`, doc.Volume{Driver: "local"}, "driver")
	f(`{"driver_opts":{"o":"x"}}`, doc.Volume{Driver: "local"}, "driver_opts o")
}
