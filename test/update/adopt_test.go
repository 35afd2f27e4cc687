package update_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/engine.md 10: 28, 29, 30, 34; cloud.md 89.
func TestRestartOfTheSupervisorChangesNothing(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	plain := harness.ServerImage("adopt/app:v1").Load(t)
	rich := richImage().Load(t)
	app := harness.Shop("aaaa1", 1,
		plain.Service("plain", 1),
		plain.Service("api", 2).Labelled("io.balena.features.supervisor-api", "1"),
		everyField(plain.Service("every", 3)),
		rich.Service("rich", 4))
	app = app.WithVolumes("data")
	app.Networks = map[string]any{"back": map[string]any{"ipam": map[string]any{
		"config": []any{map[string]any{"subnet": "10.77.0.0/24", "gateway": "10.77.0.1"}}}}}
	s.Apply(harness.TargetOf(app))
	before, key := s.Containers(), s.Key()
	events := s.Engine.Record(t)
	for range 2 {
		s.Restart()
		s.WaitSettled(harness.Soon)
	}
	for name, c := range s.Containers() {
		if c.ID != before[name].ID || c.State.StartedAt != before[name].State.StartedAt {
			t.Errorf("%s was recreated or restarted by a restart of the supervisor", name)
		}
	}
	for _, action := range []string{"die", "create", "rename"} {
		for _, e := range events.Events("container", action) {
			t.Errorf("%s of %s after the restart", action, e.Service())
		}
	}
	if s.ForgetKey(); s.Key() != key {
		t.Error("the global key changed over a restart")
	}
}

// richImage sets everything an image can set.
func richImage() harness.Image {
	i := harness.ServerImage("adopt/rich:v1")
	i.Env = map[string]string{"FROM_IMAGE": "1", "BALENA_APP_NAME": "image"}
	i.Labels = map[string]string{"from.image": "1"}
	i.Cmd = []string{"--flag"}
	i.Volumes = []string{"/cache"}
	i.Exposed = []string{"8080/tcp"}
	i.User = "0:0"
	i.WorkDir = "/data/"
	i.StopWith = "SIGUSR1"
	i.Health = map[string]any{"Test": []string{"CMD", "/main", "-h"}, "Interval": int64(time.Hour), "Retries": 2}
	return i
}

// everyField sets every compose key that works on any machine (docs/spec/engine.md 2.3).
func everyField(s harness.Service) harness.Service {
	for key, value := range map[string]any{
		"command": []any{"a", "b c"}, "tty": false, "user": "0", "working_dir": "/data/", "domainname": "example.org",
		"hostname": "every", "stop_signal": "SIGINT", "stop_grace_period": "3s",
		"healthcheck": map[string]any{"test": []any{"CMD", "/main"}, "interval": "1h", "start_period": "2s"},
		"ports":       []any{"8090:90", "8091-8092:91-92/udp"},
		"volumes":     []any{"data:/data:ro", "/anonymous", map[string]any{"type": "tmpfs", "target": "/scratch", "tmpfs": map[string]any{"size": 65536}}},
		"tmpfs":       []any{"/t1", "/t2"}, "networks": map[string]any{"back": map[string]any{"aliases": []any{"other"}, "ipv4_address": "10.77.0.9"}},
		"cap_add": []any{"SYS_TIME", "NET_ADMIN"}, "cap_drop": []any{"MKNOD"}, "cpu_shares": 512,
		"mem_limit": "256m", "mem_reservation": "64m", "shm_size": "32m", "oom_score_adj": 10, "pids_limit": 200,
		"devices": []any{"/dev/null:/dev/x1", "/dev/zero:/dev/x0:r"}, "dns": []any{"1.1.1.1"}, "dns_search": "example.org",
		"dns_opt": []any{"ndots:2"}, "extra_hosts": []any{"a=10.0.0.1"}, "group_add": []any{"5", "1"}, "init": true,
		"restart": "unless-stopped", "security_opt": []any{"no-new-privileges"}, "read_only": true,
		"sysctls": map[string]any{"net.ipv4.ip_forward": "1"}, "ulimits": map[string]any{"nofile": map[string]any{"soft": 100, "hard": 200}, "nproc": 400},
		"cpus": "0.5",
	} {
		s = s.Composed(key, value)
	}
	return s
}

// A device that ran another supervisor: its container, made as that one makes it, is taken over
// without a restart (docs/spec/engine.md 2.5, 2.9, 3.2, 4).
func TestContainerOfAnotherSupervisorIsAdopted(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	image := harness.ServerImage("adopt/app:v1").Load(t)
	e := s.Engine
	app := harness.Shop("aaaa1", 1, image.Service("web", 1).Setting("MODE", "prod").Composed("volumes", []any{"data:/data"}))
	app = app.WithVolumes("data")
	e.Must(t, http.MethodPost, "/networks/create", map[string]any{"Name": "31_default", "Driver": "bridge", "CheckDuplicate": true,
		"Options": map[string]string{}, "IPAM": map[string]any{"Driver": "default", "Config": []any{}, "Options": map[string]string{}},
		"Labels": map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "31"}}, nil)
	e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": "31_data"}, nil)
	adopted := e.StartContainer(t, "web_1001_1_aaaa1", originalBody(s, e.ImageID(t, image.Name)))
	harness.MustAsk(t, adopted, http.MethodPut, "/file?path=/data/kept", "precious")

	s.Start()
	harness.Throughout(t, time.Second, "a supervisor without a target leaves containers alone", func() error {
		return e.Running(adopted.ID)
	})
	s.Apply(harness.TargetOf(app))
	now := s.Containers()["web"]
	if now.ID != adopted.ID || now.State.StartedAt != adopted.State.StartedAt {
		t.Errorf("the container was replaced or restarted: %s", s.Get("/v2/state/status").Body)
	}
	if v := e.Volumes(t)["31_data"]; v.Name == "" {
		t.Error("the unlabelled volume is gone")
	}
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2)))
	if now := s.Containers()["web"]; now.ID != adopted.ID {
		t.Error("a release without changes replaced the adopted container")
	}
}

// originalBody is the create document of the widespread supervisor for the service of
// TestContainerOfAnotherSupervisorIsAdopted.
func originalBody(s *harness.Supervisor, imageID string) map[string]any {
	var env []string
	for _, prefix := range []string{"BALENA", "RESIN"} {
		for name, value := range map[string]string{
			"APP_ID": "31", "APP_UUID": "31", "APP_NAME": "shop", "SERVICE_NAME": "web", "DEVICE_UUID": s.UUID,
			"DEVICE_TYPE": "raspberrypi3", "DEVICE_ARCH": "armv7hf", "HOST_OS_VERSION": "balenaOS 6.4.1",
			"APP_LOCK_PATH": "/tmp/balena/updates.lock", "DEVICE_NAME_AT_INIT": "kiosk-7",
		} {
			env = append(env, fmt.Sprintf("%s_%s=%s", prefix, name, value))
		}
		env = append(env, prefix+"=1")
	}
	env = append(env, "BALENA_SERVICE_HANDOVER_COMPLETE_PATH=/tmp/balena/handover-complete",
		"RESIN_SERVICE_KILL_ME_PATH=/tmp/balena/handover-complete", "USER=root", "MODE=prod", "PATH=/", "VERSION=v1")
	locks := "/tmp/balena-supervisor/services/31/web"
	return map[string]any{"Tty": true, "Cmd": []string{}, "Entrypoint": []string{"/main"}, "Volumes": map[string]any{}, "Env": env,
		"ExposedPorts": map[string]any{}, "Image": imageID, "User": "", "WorkingDir": "", "Hostname": "", "Domainname": "",
		"MacAddress": "", "StopSignal": "SIGTERM", "StopTimeout": 10, "Healthcheck": map[string]any{"Test": []string{"NONE"}},
		"Labels": supervisedLabels(31, 1, "web"),
		"NetworkingConfig": map[string]any{"EndpointsConfig": map[string]any{"31_default": map[string]any{
			"IPAMConfig": map[string]any{}, "Aliases": []string{"web"}}}},
		"HostConfig": map[string]any{"NetworkMode": "31_default",
			"Binds":  []string{"31_data:/data", locks + ":/tmp/resin", locks + ":/tmp/balena"},
			"Mounts": []any{}, "Tmpfs": map[string]any{}, "PortBindings": map[string]any{},
			"RestartPolicy": map[string]any{"Name": "always", "MaximumRetryCount": 0}, "IpcMode": "shareable",
			"PidMode": "", "UsernsMode": "", "Privileged": false, "ReadonlyRootfs": false, "CapAdd": []any{}, "CapDrop": []any{},
			"SecurityOpt": []any{}, "Devices": []any{}, "DeviceRequests": []any{}, "Dns": []any{}, "DnsOptions": []any{},
			"DnsSearch": []any{}, "ExtraHosts": []any{}, "GroupAdd": []any{}, "Sysctls": map[string]any{}, "Ulimits": []any{},
			"CgroupParent": "", "CpusetCpus": "", "CpuShares": 0, "CpuQuota": 0, "NanoCpus": 0, "Memory": 0,
			"MemoryReservation": 0, "OomKillDisable": false, "OomScoreAdj": 0, "PidsLimit": 0, "ShmSize": 64 << 20}}
}
