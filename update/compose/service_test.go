package compose

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// Conformance 9, 10, 11, 12, 24: settings of every container.
func TestMinimalService(t *testing.T) {
	s, warnings := web(t, `{}`)
	d := s.Container.Doc
	if len(warnings) != 0 {
		t.Errorf("warnings %q", warnings)
	}
	env := []string{"BALENA=1", "BALENA_APP_ID=31", "BALENA_APP_LOCK_PATH=/tmp/balena/updates.lock", "BALENA_APP_NAME=shop",
		"BALENA_APP_UUID=5aa0", "BALENA_DEVICE_ARCH=armv7hf", "BALENA_DEVICE_TYPE=raspberrypi3", "BALENA_DEVICE_UUID=d0d0",
		"BALENA_HOST_OS_VERSION=balenaOS 6.1", "BALENA_SERVICE_HANDOVER_COMPLETE_PATH=/tmp/balena/handover-complete",
		"BALENA_SERVICE_NAME=web", "RESIN=1", "RESIN_APP_ID=31", "RESIN_APP_LOCK_PATH=/tmp/balena/updates.lock",
		"RESIN_APP_NAME=shop", "RESIN_APP_UUID=5aa0", "RESIN_DEVICE_ARCH=armv7hf", "RESIN_DEVICE_TYPE=raspberrypi3",
		"RESIN_DEVICE_UUID=d0d0", "RESIN_HOST_OS_VERSION=balenaOS 6.1",
		"RESIN_SERVICE_KILL_ME_PATH=/tmp/balena/handover-complete", "RESIN_SERVICE_NAME=web", "USER=root"}
	ten := 10
	want := doc.Create{
		Tty: true, Env: env, Image: imageID, StopSignal: "SIGTERM", StopTimeout: &ten,
		Healthcheck: &doc.Health{Test: []string{"NONE"}},
		Labels: map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "31", "io.balena.service-id": "92",
			"io.balena.service-name": "web", "io.balena.app-uuid": "5aa0"},
		HostConfig: doc.HostConfig{
			NetworkMode: "5aa0_default", IpcMode: "shareable", ShmSize: 67108864,
			RestartPolicy: doc.RestartPolicy{Name: "always"},
			Binds: []string{"/tmp/balena-supervisor/services/31/web:/tmp/balena",
				"/tmp/balena-supervisor/services/31/web:/tmp/resin"},
		},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("document\n%+v\nwant\n%+v", d, want)
	}
	if want := map[string]doc.Endpoint{"5aa0_default": {Aliases: []string{"web"}}}; !reflect.DeepEqual(s.Container.Networks, want) {
		t.Errorf("networks %v", s.Container.Networks)
	}
	if s.Strategy != DownloadThenKill || s.HandoverTimeout != time.Minute || s.RollbackTimeout != 0 || !s.Running || !s.ImageKnown {
		t.Errorf("service %+v", s)
	}
}

// Conformance 10.
func TestDeviceNameIsOnlyCreated(t *testing.T) {
	app := release(t, `{"environment":{"RESIN_DEVICE_NAME_AT_INIT":"mine"}}`)
	s := resolve(t, app, doc.Config{Env: []string{"BALENA_DEVICE_NAME_AT_INIT=image"}}).Services["web"]
	body, err := CreateBody(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"BALENA_DEVICE_NAME_AT_INIT", "RESIN_DEVICE_NAME_AT_INIT"} {
		if got := environment(body)[name]; got != "kiosk-7" {
			t.Errorf("%s is %q", name, got)
		}
		if _, compared := environment(&s.Container.Doc)[name]; compared {
			t.Errorf("%s takes part in the comparison", name)
		}
	}
}

// Conformance 10, 18: which of several variables wins.
func TestPrecedence(t *testing.T) {
	app := release(t, `{"environment":{"A":"composition","B":"composition","BALENA_APP_NAME":"mine"},"labels":{"a":"composition","b":"composition","io.balena.app-id":"99"}}`)
	svc := app.Release.Services["web"]
	svc.Environment = map[string]string{"A": "service"}
	svc.Labels = map[string]string{"a": "service"}
	s := resolve(t, app, doc.Config{
		Env:    []string{"A=image", "C=image", "USER=image", "odd"},
		Labels: map[string]string{"a": "image", "c": "image", "io.balena.app-id": "98"},
	}).Services["web"]
	env, labels := environment(&s.Container.Doc), s.Container.Doc.Labels
	for name, want := range map[string]string{"A": "service", "B": "composition", "C": "image", "USER": "root",
		"BALENA_APP_NAME": "mine", "RESIN_APP_NAME": "shop"} {
		if env[name] != want {
			t.Errorf("%s=%s, want %s", name, env[name], want)
		}
	}
	for name, want := range map[string]string{"a": "service", "b": "composition", "c": "image", "io.balena.app-id": "31"} {
		if labels[name] != want {
			t.Errorf("label %s=%s, want %s", name, labels[name], want)
		}
	}
}

// Conformance 30: the image's settings apply only where the service has none.
func TestImageDefaults(t *testing.T) {
	image := doc.Config{Cmd: []string{"c"}, Entrypoint: []string{"e"}, WorkingDir: "/w/", User: "u", StopSignal: "SIGINT",
		Volumes: map[string]struct{}{"/v/": {}}, Healthcheck: &doc.Health{Test: []string{"CMD", "x"}, Interval: 7, Retries: 4}}
	s := resolve(t, release(t, `{}`), image).Services["web"]
	d := s.Container.Doc
	if !slices.Equal(d.Cmd, image.Cmd) || !slices.Equal(d.Entrypoint, image.Entrypoint) || d.WorkingDir != "/w" || d.User != "u" ||
		d.StopSignal != "SIGINT" || !reflect.DeepEqual(d.Healthcheck, image.Healthcheck) || d.Volumes["/v"] != struct{}{} || len(d.Volumes) != 1 {
		t.Errorf("inherited %+v", d)
	}
	s = resolve(t, release(t, `{"command":"x","working_dir":"/","user":"","stop_signal":9,
		"healthcheck":{"interval":"20s","startPeriod":"1s"},"volumes":["/v","/x"]}`), image).Services["web"]
	d = s.Container.Doc
	health := &doc.Health{Test: []string{"CMD", "x"}, Interval: int64(20 * time.Second), StartPeriod: int64(time.Second), Retries: 4}
	if !slices.Equal(d.Cmd, []string{"x"}) || !slices.Equal(d.Entrypoint, image.Entrypoint) || d.WorkingDir != "/" || d.User != "u" ||
		d.StopSignal != "9" || !reflect.DeepEqual(d.Healthcheck, health) || len(d.Volumes) != 2 {
		t.Errorf("own %+v health %+v", d, d.Healthcheck)
	}
	// the engine itself uses the image's command when there is neither
	d = resolve(t, release(t, `{"command":[],"entrypoint":[]}`), image).Services["web"].Container.Doc
	if !slices.Equal(d.Cmd, image.Cmd) || d.Entrypoint != nil {
		t.Errorf("emptied %q %q", d.Entrypoint, d.Cmd)
	}
}

func TestHealthcheck(t *testing.T) {
	f := func(health string, want doc.Health) {
		t.Helper()
		s, _ := web(t, `{"healthcheck":`+health+`}`)
		if got := *s.Container.Doc.Healthcheck; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", health, got)
		}
	}
	none := doc.Health{Test: []string{"NONE"}}
	f(`null`, none)
	f(`{}`, none)
	f(`{"disable":true,"test":"x"}`, none)
	f(`{"interval":"5s"}`, none)
	f(`{"test":["NONE"],"retries":2}`, none)
	f(`{"test":"a | b"}`, doc.Health{Test: []string{"CMD-SHELL", "a | b"}})
	f(`{"test":["CMD","a"],"timeout":"1m","start-period":"2s","retries":"3"}`,
		doc.Health{Test: []string{"CMD", "a"}, Timeout: int64(time.Minute), StartPeriod: int64(2 * time.Second), Retries: 3})
}

// Conformance 13, 16: an invalid value counts as absent, with a warning.
func TestFieldValues(t *testing.T) {
	f := func(composition string, value func(h *doc.HostConfig) any, want any, warned bool) {
		t.Helper()
		s, warnings := web(t, composition)
		if got := value(&s.Container.Doc.HostConfig); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", composition, got, want)
		}
		if (len(warnings) > 0) != warned {
			t.Errorf("%s: warnings %q", composition, warnings)
		}
	}
	restart := func(h *doc.HostConfig) any { return h.RestartPolicy }
	f(`{"restart":"on-failure"}`, restart, doc.RestartPolicy{Name: "on-failure"}, false)
	f(`{"restart":"on-failure:3"}`, restart, doc.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}, false)
	f(`{"restart":" No "}`, restart, doc.RestartPolicy{Name: "no"}, false)
	f(`{"restart":false}`, restart, doc.RestartPolicy{Name: "no"}, false)
	f(`{"restart":"unless-stopped"}`, restart, doc.RestartPolicy{Name: "unless-stopped"}, false)
	f(`{"restart":"on-failure:x"}`, restart, doc.RestartPolicy{Name: "always"}, true)
	f(`{"restart":"sometimes"}`, restart, doc.RestartPolicy{Name: "always"}, true)
	shm := func(h *doc.HostConfig) any { return h.ShmSize }
	f(`{"shm_size":"1.5g"}`, shm, int64(1610612736), false)
	f(`{"shm-size":64}`, shm, int64(64), false)
	f(`{"shmSize":"lots"}`, shm, int64(67108864), true)
	memory := func(h *doc.HostConfig) any { return h.Memory }
	f(`{"mem_limit":"64MB"}`, memory, int64(67108864), false)
	f(`{"mem_limit":"x"}`, memory, int64(0), true)
	cpus := func(h *doc.HostConfig) any { return h.NanoCpus }
	f(`{"cpus":0.25}`, cpus, int64(250000000), false)
	f(`{"cpus":"1.5"}`, cpus, int64(1500000000), false)
	f(`{"cpus":"NaN"}`, cpus, int64(0), true)
	f(`{"cpus":"-1"}`, cpus, int64(0), true)
	f(`{"cpu_shares":"1.5"}`, func(h *doc.HostConfig) any { return h.CpuShares }, int64(0), true)
	f(`{"oom_score_adj":1e12}`, func(h *doc.HostConfig) any { return h.OomScoreAdj }, 0, true)
	f(`{"privileged":"yes"}`, func(h *doc.HostConfig) any { return h.Privileged }, true, false)
	f(`{"privileged":{}}`, func(h *doc.HostConfig) any { return h.Privileged }, false, true)
	f(`{"privileged":null}`, func(h *doc.HostConfig) any { return h.Privileged }, false, false)
	devices := func(h *doc.HostConfig) any { return h.Devices }
	f(`{"devices":["/dev/a","/dev/a:/dev/b","/dev/a:/dev/c:r",null]}`, devices, []doc.Device{device("/dev/a", "/dev/a", "rwm"),
		device("/dev/a", "/dev/b", "rwm"), device("/dev/a", "/dev/c", "r")}, false)
	f(`{"devices":[5,"a:b:c:d",{"source":"/dev/a","permissions":"rw"}]}`, devices, []doc.Device{device("/dev/a", "/dev/a", "rw")}, true)
	hosts := func(h *doc.HostConfig) any { return h.ExtraHosts }
	f(`{"extra_hosts":["a=192.0.2.1","b:fd00::1","c=[fd00::2]"]}`, hosts, []string{"a:192.0.2.1", "b:fd00::1", "c:fd00::2"}, false)
	f(`{"extra_hosts":{"a":["192.0.2.1","192.0.2.2"],"b":null}}`, hosts, []string{"a:192.0.2.1", "a:192.0.2.2"}, false)
	f(`{"sysctls":["a.b=1","c"]}`, func(h *doc.HostConfig) any { return h.Sysctls }, map[string]string{"a.b": "1"}, false)
	f(`{"ulimits":{"core":{"hard":"5"},"nofile":-1,"x":"y"}}`, func(h *doc.HostConfig) any { return h.Ulimits },
		[]doc.Ulimit{{Name: "core", Soft: 5, Hard: 5}, {Name: "nofile", Soft: -1, Hard: -1}}, true)
	f(`{"tmpfs":["/run:size=64m,mode=1777","/tmp/"]}`, func(h *doc.HostConfig) any { return h.Tmpfs },
		map[string]string{"/run": "size=64m,mode=1777", "/tmp": ""}, false)
	f(`{"security_opt":["label=disable","no-new-privileges"]}`, func(h *doc.HostConfig) any { return h.SecurityOpt },
		[]string{"no-new-privileges"}, true) // conformance 26
	f(`{"group_add":[5,"a",5]}`, func(h *doc.HostConfig) any { return h.GroupAdd }, []string{"5", "a"}, false)
	yes := true
	f(`{"init":1}`, func(h *doc.HostConfig) any { return h.Init }, &yes, false)
	f(`{"init":null}`, func(h *doc.HostConfig) any { return h.Init }, (*bool)(nil), false)
	f(`{"pids_limit":"0"}`, func(h *doc.HostConfig) any { return h.PidsLimit }, (*int64)(nil), false)
}

func TestStopGracePeriod(t *testing.T) {
	for text, want := range map[string]int{"0s": 0, "10s": 10, "1m30s": 90, "500ms": 1, "1d": 86400} {
		s, _ := web(t, `{"stop_grace_period":"`+text+`"}`)
		if got := *s.Container.Doc.StopTimeout; got != want {
			t.Errorf("%s is %d seconds", text, got)
		}
	}
}

// D5, D6: every spelling and form gives the same container.
func TestSpellings(t *testing.T) {
	f := func(a, b string) {
		t.Helper()
		sa, wa := web(t, a)
		sb, wb := web(t, b)
		if !reflect.DeepEqual(sa, sb) || len(wa)+len(wb) > 0 {
			t.Errorf("%s and %s differ: %v %q %q", a, b, compare(sa, sb.Container), wa, wb)
		}
	}
	f(`{"cap_add":["A"]}`, `{"capAdd":["A"]}`)
	f(`{"cap_add":["A"]}`, `{"cap-add":"A"}`)
	f(`{"healthcheck":{"test":"x","start_period":"5s"}}`, `{"healthcheck":{"test":"x","startPeriod":"5s"}}`)
	f(`{"volumes":[{"type":"volume","source":"data","target":"/a","read_only":true}]}`,
		`{"volumes":[{"type":"volume","source":"data","target":"/a","readOnly":true}]}`)
	f(`{"networks":{"front":{"ipv4_address":"192.0.2.1","link_local_ips":["169.254.1.1"]}}}`,
		`{"networks":{"front":{"ipv4Address":"192.0.2.1","link-local-ips":"169.254.1.1"}}}`)
	f(`{"environment":{"A":"1","B":"true","C":""}}`, `{"environment":["A=1","B=true","C=","D"]}`)
	f(`{"environment":{"A":1,"B":true,"C":1.5}}`, `{"environment":{"A":"1","B":"true","C":"1.5","D":null}}`)
	f(`{"labels":{"a":"1","b":""}}`, `{"labels":["a=1","b"]}`)
	f(`{"user":"1000","command":["sleep","5"]}`, `{"user":1000,"command":"sleep 5","tty":null,"x-mine":1}`)
}

// Conformance 27: one warning per service, and nothing else changes.
func TestUnknownKeys(t *testing.T) {
	plain, _ := web(t, `{"image":"x","running":false}`)
	s, warnings := web(t, `{"build":".","links":["a"],"logging":{"driver":"x"},"healthcheck":{"start_interval":"1s"}}`)
	if len(warnings) != 1 || warnings[0] != "service web: ignored compose keys: build, healthcheck.start_interval, links, logging" {
		t.Errorf("warnings %q", warnings)
	}
	if !reflect.DeepEqual(plain, s) {
		t.Errorf("container changed: %v", compare(s, plain.Container))
	}
}

func TestUpdateLabels(t *testing.T) {
	f := func(labels map[string]string, strategy Strategy, handover, rollback time.Duration, reboot, warned bool) {
		t.Helper()
		app := release(t, `{}`)
		app.Release.Services["web"].Labels = labels
		out := resolve(t, app, doc.Config{})
		s := out.Services["web"]
		if s.Strategy != strategy || s.HandoverTimeout != handover || s.RollbackTimeout != rollback || s.RequiresReboot != reboot || (len(out.Warnings) > 0) != warned {
			t.Errorf("%v: %s %v %v %v %q", labels, s.Strategy, s.HandoverTimeout, s.RollbackTimeout, s.RequiresReboot, out.Warnings)
		}
	}
	f(map[string]string{"io.balena.update.strategy": "hand-over", "io.balena.update.handover-timeout": "1500"}, HandOver, 1500*time.Millisecond, 0, false, false)
	f(map[string]string{"io.resin.update.strategy": "kill-then-download", "io.resin.update.requires-reboot": "1"}, KillThenDownload, time.Minute, 0, true, false)
	f(map[string]string{"io.balena.update.strategy": "delete-then-download", "io.balena.update.rollback-timeout": "90000"}, DeleteThenDownload, time.Minute, 90*time.Second, false, false)
	f(map[string]string{"io.balena.update.strategy": "handover", "io.resin.update.rollback-timeout": "5m"}, DownloadThenKill, time.Minute, 5*time.Minute, false, false)
	f(map[string]string{"io.balena.update.handover-timeout": "-5"}, DownloadThenKill, time.Minute, 0, false, true)
	f(map[string]string{"io.balena.update.rollback-timeout": "soon"}, DownloadThenKill, time.Minute, 0, false, true)
}

// The configuration applies only to services without the label. A label counts even if it is invalid.
func TestUpdateDefaults(t *testing.T) {
	f := func(labels map[string]string, strategy, timeout string, want Strategy, handover time.Duration, warned bool) {
		t.Helper()
		app, facts := release(t, `{}`), testFacts()
		app.Release.Services["web"].Labels = labels
		facts.Strategy, facts.HandoverTimeout = strategy, timeout
		out, err := Resolve(app, facts, onDevice(doc.Config{}))
		if err != nil {
			t.Fatal(err)
		}
		s := out.Services["web"]
		if s.Strategy != want || s.HandoverTimeout != handover || (len(out.Warnings) > 0) != warned {
			t.Errorf("%v: %s %v %q", labels, s.Strategy, s.HandoverTimeout, out.Warnings)
		}
		if got := s.Container.Strategy(out.Strategy); got != want {
			t.Errorf("%v: the container says %s", labels, got)
		}
		if s.Container.Doc.Labels["io.balena.update.strategy"] != labels["io.balena.update.strategy"] {
			t.Error("the configuration became a label: a change of it would make containers anew")
		}
	}
	const label = "io.balena.update.strategy"
	f(nil, "hand-over", "2000", HandOver, 2*time.Second, false)
	f(map[string]string{label: "kill-then-download"}, "hand-over", "", KillThenDownload, time.Minute, false)
	f(map[string]string{label: "handover"}, "hand-over", "", DownloadThenKill, time.Minute, false)
	f(map[string]string{"io.balena.update.handover-timeout": "1500"}, "", "2000", DownloadThenKill, 1500*time.Millisecond, false)
	f(nil, "nonsense", "-1", DownloadThenKill, time.Minute, true)
}

// D13 and others: errors name the app, the service and the value, and nothing panics.
func TestRejected(t *testing.T) {
	f := func(composition, part string) {
		t.Helper()
		out, err := Resolve(release(t, composition), testFacts(), onDevice(doc.Config{}))
		if err == nil || out != nil || !strings.Contains(err.Error(), "app shop service web: ") || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", composition, err)
		}
	}
	f(`{"stop_grace_period":"soon"}`, `stop_grace_period: "soon" is not a duration`)
	f(`{"stop_grace_period":10}`, `"10" is not a duration`)
	f(`{"healthcheck":{"interval":{}}}`, `healthcheck.interval`)
	f(`{"networks":["nowhere"]}`, `network nowhere is not defined`)
	f(`{"network_mode":"nowhere"}`, `network nowhere is not defined`)
	f(`{"network_mode":"service:nobody"}`, `there is no such service`)
	f(`{"volumes":["a b:/x"]}`, `"a b:/x" is not name:/path`)
	f(`{"volumes":["data:x"]}`, `is not name:/path`)
	f(`{"volumes":[{"type":"volume","source":"data","target":"x"}]}`, `is not an absolute path`)
}

func TestBadNames(t *testing.T) {
	app := release(t, `{}`)
	app.Release.Volumes["a/b"] = nil
	if _, err := Resolve(app, testFacts(), onDevice(doc.Config{})); err == nil || !strings.Contains(err.Error(), "volume a/b") {
		t.Error(err)
	}
}

// The agent does not run the host app's parts of the operating system (spec 2.6).
func TestHostApp(t *testing.T) {
	app := release(t, `{}`)
	app.IsHost = true
	app.Release.Services["os"] = &target.Service{Name: "os", Labels: map[string]string{"io.balena.image.store": "root"}}
	app.Release.Services["overlay"] = &target.Service{Name: "overlay", Labels: map[string]string{"io.resin.image.class": "overlay"}}
	app.Release.Services["web"].Labels = map[string]string{"io.balena.image.class": "service", "io.balena.image.store": "data"}
	out := resolve(t, app, doc.Config{})
	if len(out.Services) != 1 || out.Services["web"] == nil || !out.IsHost {
		t.Errorf("services %v", sortedKeys(out.Services))
	}
}

func TestAppWithoutRelease(t *testing.T) {
	out, err := Resolve(&target.App{UUID: "5aa0", ID: 31, Name: "shop", Rejected: "why"}, testFacts(), nil)
	if err != nil || out.Commit != "" || len(out.Services)+len(out.Networks)+len(out.Volumes) != 0 || out.Rejected != "why" || out.Services == nil {
		t.Errorf("%+v %v", out, err)
	}
}

func device(host, inside, permissions string) doc.Device {
	return doc.Device{PathOnHost: host, PathInContainer: inside, CgroupPermissions: permissions}
}
