package compose

import (
	"reflect"
	"testing"

	"resin-supervisor/update/engine/doc"
)

// Conformance 19, 21: each feature adds only its own settings.
func TestFeatures(t *testing.T) {
	plain, _ := web(t, `{}`)
	f := func(label string, binds []string, mounts []doc.Mount, env map[string]string) {
		t.Helper()
		for _, prefix := range []string{"io.balena.features.", "io.resin.features."} {
			app := release(t, `{"environment":{"BALENA_API_KEY":"mine"}}`)
			app.Release.Services["web"].Labels = map[string]string{prefix + label: "true"}
			d := resolve(t, app, doc.Config{}).Services["web"].Container.Doc
			if got := without(d.HostConfig.Binds, plain.Container.Doc.HostConfig.Binds); !reflect.DeepEqual(got, binds) {
				t.Errorf("%s binds %q", label, got)
			}
			if !reflect.DeepEqual(d.HostConfig.Mounts, mounts) {
				t.Errorf("%s mounts %v", label, d.HostConfig.Mounts)
			}
			want := environment(&plain.Container.Doc)
			want["BALENA_API_KEY"] = "mine"
			overlay(want, env)
			if diff := compareMaps("", environment(&d), want); len(diff) != 0 {
				t.Errorf("%s environment %v", label, diff)
			}
		}
	}
	f("dbus", []string{"/run/dbus:/host/run/dbus"}, nil, nil)
	f("kernel-modules", []string{"/lib/modules:/lib/modules"}, nil, nil)
	f("firmware", []string{"/lib/firmware:/lib/firmware"}, nil, nil)
	f("journal-logs", []string{"/etc/machine-id:/etc/machine-id:ro", "/run/log/journal:/run/log/journal:ro", "/var/log/journal:/var/log/journal:ro"}, nil, nil)
	f("procfs", []string{"/proc:/proc"}, nil, nil)
	f("sysfs", []string{"/sys:/sys"}, nil, nil)
	f("extra-firmware", nil, []doc.Mount{{Type: "volume", Source: "extra-firmware", Target: "/extra-firmware"}}, nil)
	socket := "/var/run/docker.sock"
	f("balena-socket", nil, []doc.Mount{{Type: "bind", Source: socket, Target: "/host/run/balena-engine.sock"},
		{Type: "bind", Source: socket, Target: "/var/run/balena.sock"}, {Type: "bind", Source: socket, Target: socket}},
		map[string]string{"DOCKER_HOST": "unix:///host/run/balena-engine.sock"})
	f("balena-api", nil, nil, map[string]string{"BALENA_API_KEY": "devkey", "RESIN_API_KEY": "devkey",
		"BALENA_API_URL": "https://api.example", "RESIN_API_URL": "https://api.example"})
	f("supervisor-api", nil, nil, map[string]string{
		"BALENA_SUPERVISOR_API_KEY": "svckey", "RESIN_SUPERVISOR_API_KEY": "svckey",
		"BALENA_SUPERVISOR_HOST": "10.114.104.1", "RESIN_SUPERVISOR_HOST": "10.114.104.1",
		"BALENA_SUPERVISOR_PORT": "48484", "RESIN_SUPERVISOR_PORT": "48484",
		"BALENA_SUPERVISOR_ADDRESS": "http://10.114.104.1:48484", "RESIN_SUPERVISOR_ADDRESS": "http://10.114.104.1:48484"})
	f("host-os.board-rev", nil, nil, map[string]string{"BALENA_HOST_OS_BOARD_REV": "rev9", "RESIN_HOST_OS_BOARD_REV": "rev9",
		"BALENA_HOST_OS_BUILD": "rev9", "RESIN_HOST_OS_BUILD": "rev9"})
	f("unknown", nil, nil, nil)
}

func TestFeatureResinAPI(t *testing.T) {
	s, _ := web(t, `{"labels":{"io.resin.features.resin-api":"1"}}`)
	if got := environment(&s.Container.Doc)["RESIN_API_KEY"]; got != "devkey" {
		t.Errorf("RESIN_API_KEY=%s", got)
	}
}

func TestFeatureGPU(t *testing.T) {
	s, _ := web(t, `{"labels":{"io.balena.features.gpu":"1"}}`)
	want := []doc.DeviceRequest{{Count: 1, Capabilities: [][]string{{"gpu"}}}}
	if got := s.Container.Doc.HostConfig.DeviceRequests; !reflect.DeepEqual(got, want) {
		t.Errorf("requests %v", got)
	}
	c := asMade(t, s)
	c.HostConfig.DeviceRequests[0].DeviceIDs, c.HostConfig.DeviceRequests[0].Options = []string{}, map[string]string{}
	if diff := compare(s, ReadContainer(c)); len(diff) != 0 {
		t.Error(diff)
	}
	c.HostConfig.DeviceRequests = nil
	if diff := compare(s, ReadContainer(c)); len(diff) != 1 || diff[0].Field != "gpu" {
		t.Error(diff)
	}
}

// Paths that the host lacks are not mounted, and the service's own DOCKER_HOST stays.
func TestFeaturesOfAPoorHost(t *testing.T) {
	facts := testFacts()
	facts.KernelModules, facts.Firmware, facts.BoardRev, facts.Gateway, facts.ListenPort = false, false, "", "", 0
	facts.EngineSocket = "/var/run/balena.sock"
	app := release(t, `{"labels":{"io.balena.features.kernel-modules":"1","io.balena.features.firmware":"1",
		"io.balena.features.host-os.board-rev":"1","io.balena.features.balena-socket":"1","io.balena.features.supervisor-api":"1"}}`)
	out, err := Resolve(app, facts, onDevice(doc.Config{Env: []string{"DOCKER_HOST=tcp://x", "BALENA_SUPERVISOR_PORT=1"}}))
	if err != nil {
		t.Fatal(err)
	}
	d := out.Services["web"].Container.Doc
	env := environment(&d)
	if len(d.HostConfig.Binds) != 2 || len(d.HostConfig.Mounts) != 2 {
		t.Errorf("binds %q mounts %v", d.HostConfig.Binds, d.HostConfig.Mounts)
	}
	if _, has := env["BALENA_HOST_OS_BUILD"]; has || env["DOCKER_HOST"] != "tcp://x" || env["BALENA_SUPERVISOR_ADDRESS"] != "http://127.0.0.1:48484" || env["BALENA_SUPERVISOR_PORT"] != "48484" {
		t.Errorf("environment %v", env)
	}
}

// Only services with the feature get a key.
func TestServiceKeyOnDemand(t *testing.T) {
	facts := testFacts()
	asked := ""
	facts.ServiceKey = func(_ int, service string) string { asked += service; return "k" }
	if _, err := Resolve(release(t, `{}`), facts, onDevice(doc.Config{})); err != nil || asked != "" {
		t.Errorf("asked for %q, %v", asked, err)
	}
}
