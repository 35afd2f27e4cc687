package update_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// preloaded is a device that found its target in apps.json and has reached it: an API user with
// volume, port and network, and a plain worker. Images come from a registry, one by digest.
func preloaded(t *testing.T) (*harness.Supervisor, harness.App, harness.Image) {
	t.Helper()
	registry := harness.SharedRegistry(t)
	byDigest := registry.PushDigest(t, harness.ServerImage("preload/web:v1"))
	byTag := registry.Push(t, harness.ServerImage("preload/worker:v1"))
	web := byDigest.Service("web", 1).
		Labelled("io.balena.features.supervisor-api", "1").
		Labelled("colour", "blue").
		Setting("MODE", "prod").Setting("BALENA_APP_NAME", "mine").
		Composed("volumes", []any{"data:/data", "/etc:/host-etc"}).
		Composed("ports", []any{"8081:80", "127.0.0.1:9000-9001:90-91/udp"}).
		Composed("networks", []any{"default", "back"})
	worker := byTag.Service("worker", 2).
		Composed("restart", "on-failure").Composed("networks", []any{"back"})
	app := harness.Shop("c0ffee01", 88, web, worker)
	app = app.WithVolumes("data")
	app.Networks = map[string]any{"back": map[string]any{}}
	s := harness.NewSupervisor(t, harness.Setup{Apps: harness.TargetOf(app).V3()})
	s.Expect(harness.TargetOf(app))
	s.Start()
	s.WaitSettled(harness.Soon)
	return s, app, byDigest
}

// docs/spec/engine.md 10: 6, 9 to 12, 14, 18, 20 to 22, 24, 35.
func TestPreloadedTargetIsPulledCreatedAndStarted(t *testing.T) {
	s, app, byDigest := preloaded(t)
	containers := s.Containers()
	web, worker := containers["web"], containers["worker"]
	t.Run("name and labels", func(t *testing.T) { checkIdentity(t, app, web) })
	t.Run("environment", func(t *testing.T) { checkEnvironment(t, s, app, web) })
	t.Run("mounts", func(t *testing.T) { checkMounts(t, s, web) })
	t.Run("defaults", func(t *testing.T) { checkDefaults(t, web, worker) })
	t.Run("ports", func(t *testing.T) { checkPorts(t, web) })
	t.Run("networks", func(t *testing.T) { checkNetworks(t, s, app, web, worker) })
	t.Run("supervisor API from inside", func(t *testing.T) { checkAPIFromInside(t, s, app, web, worker) })
	t.Run("pulled by digest, tagged latest", func(t *testing.T) { checkLatestTag(t, s.Engine, byDigest) })
}

func checkIdentity(t *testing.T, app harness.App, web harness.Container) {
	if want := "web_1001_88_c0ffee01"; web.Name != want {
		t.Errorf("name %q, want %q", web.Name, want)
	}
	for label, want := range map[string]string{
		"io.balena.supervised": "true", "io.balena.app-id": "31", "io.balena.service-id": "1",
		"io.balena.service-name": "web", "io.balena.app-uuid": app.UUID, "colour": "blue",
	} {
		if got := web.Config.Labels[label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
}

func checkEnvironment(t *testing.T, s *harness.Supervisor, app harness.App, web harness.Container) {
	both := map[string]string{
		"APP_ID": "31", "APP_UUID": app.UUID, "SERVICE_NAME": "web", "DEVICE_UUID": s.UUID,
		"DEVICE_TYPE": "raspberrypi3", "DEVICE_ARCH": "armv7hf", "HOST_OS_VERSION": "balenaOS 6.4.1",
		"APP_LOCK_PATH": "/tmp/balena/updates.lock", "DEVICE_NAME_AT_INIT": deviceName(t, s),
		"SUPERVISOR_PORT": strconv.Itoa(s.Port), "SUPERVISOR_HOST": "10.114.104.1",
		"SUPERVISOR_ADDRESS": fmt.Sprintf("http://10.114.104.1:%d", s.Port),
		"SUPERVISOR_API_KEY": web.Env("BALENA_SUPERVISOR_API_KEY"),
	}
	for name, want := range both {
		for _, prefix := range []string{"BALENA_", "RESIN_"} {
			if got := web.Env(prefix + name); got != want {
				t.Errorf("%s%s is %q, want %q", prefix, name, got, want)
			}
		}
	}
	for name, want := range map[string]string{
		"BALENA": "1", "RESIN": "1", "USER": "root", "MODE": "prod", "VERSION": "v1", "PATH": "/",
		"BALENA_APP_NAME": "mine", "RESIN_APP_NAME": "shop",
		"BALENA_SERVICE_HANDOVER_COMPLETE_PATH": "/tmp/balena/handover-complete",
		"RESIN_SERVICE_KILL_ME_PATH":            "/tmp/balena/handover-complete",
	} {
		if got := web.Env(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func deviceName(t *testing.T, s *harness.Supervisor) string {
	var answer struct{ DeviceName string }
	s.Get("/v2/device/name").JSON(t, &answer)
	return answer.DeviceName
}

func checkMounts(t *testing.T, s *harness.Supervisor, web harness.Container) {
	want := []string{"31_data:/data",
		"/tmp/balena-supervisor/services/31/web:/tmp/balena",
		"/tmp/balena-supervisor/services/31/web:/tmp/resin"}
	got := slices.Clone(web.HostConfig.Binds)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("binds %q, want %q", got, want)
	}
	if volume, ok := s.Engine.Volumes(t)["31_data"]; !ok || volume.Labels["io.balena.supervised"] != "true" {
		t.Errorf("volume 31_data reads %+v", volume)
	}
	harness.MustAsk(t, web, http.MethodPut, "/file?path=/tmp/balena/probe", "x")
	if got := harness.MustAsk(t, web, http.MethodGet, "/file?path=/tmp/resin/probe", ""); got != "x" {
		t.Errorf("/tmp/resin shows %q of what was written to /tmp/balena", got)
	}
}

func checkDefaults(t *testing.T, web, worker harness.Container) {
	h := web.HostConfig
	if !web.Config.Tty || h.RestartPolicy.Name != "always" || h.IpcMode != "shareable" || h.ShmSize != 64<<20 {
		t.Errorf("tty %v, restart %q, ipc %q, shm %d", web.Config.Tty, h.RestartPolicy.Name, h.IpcMode, h.ShmSize)
	}
	if web.Config.StopSignal != "SIGTERM" || web.Config.StopTimeout == nil || *web.Config.StopTimeout != 10 {
		t.Errorf("stop signal %q, timeout %v", web.Config.StopSignal, web.Config.StopTimeout)
	}
	if check := web.Config.Healthcheck; check == nil || !slices.Equal(check.Test, []string{"NONE"}) {
		t.Errorf("health check is %v", check)
	}
	if got := worker.HostConfig.RestartPolicy.Name; got != "on-failure" {
		t.Errorf("restart policy of worker is %q", got)
	}
}

func checkPorts(t *testing.T, web harness.Container) {
	got, err := json.Marshal(web.HostConfig.PortBindings)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"80/tcp":[{"HostIp":"","HostPort":"8081"}],"90/udp":[{"HostIp":"127.0.0.1","HostPort":"9000"}],"91/udp":[{"HostIp":"127.0.0.1","HostPort":"9001"}]}`
	if string(got) != want {
		t.Errorf("ports %s, want %s", got, want)
	}
}

func checkNetworks(t *testing.T, s *harness.Supervisor, app harness.App, web, worker harness.Container) {
	for _, name := range []string{app.UUID + "_default", app.UUID + "_back"} {
		network, found := s.Engine.Network(t, name)
		if !found || network.Driver != "bridge" || network.Labels["io.balena.supervised"] != "true" || network.Labels["io.balena.app-id"] != "31" {
			t.Errorf("network %s reads %+v", name, network)
		}
		if !slices.Contains(web.NetworkSettings.Networks[name].Aliases, "web") {
			t.Errorf("web has aliases %q on %s", web.NetworkSettings.Networks[name].Aliases, name)
		}
	}
	if _, on := worker.NetworkSettings.Networks[app.UUID+"_default"]; on {
		t.Error("worker is on the default network, which it does not list")
	}
	network, _ := s.Engine.Network(t, "supervisor0")
	if len(network.IPAM.Config) != 1 || network.IPAM.Config[0].Subnet != "10.114.104.0/25" ||
		network.IPAM.Config[0].Gateway != "10.114.104.1" || network.Options["com.docker.network.bridge.name"] != "supervisor0" {
		t.Errorf("supervisor0 reads %+v", network)
	}
	if _, on := web.NetworkSettings.Networks["supervisor0"]; !on {
		t.Error("web is not on supervisor0")
	}
	if _, on := worker.NetworkSettings.Networks["supervisor0"]; on {
		t.Error("worker is on supervisor0 without the label")
	}
	if answer := harness.MustAsk(t, web, http.MethodGet, "/lookup?host=worker", ""); answer == "" {
		t.Error("web cannot resolve worker")
	}
}

func checkAPIFromInside(t *testing.T, s *harness.Supervisor, app harness.App, web, worker harness.Container) {
	address, key := web.Env("BALENA_SUPERVISOR_ADDRESS"), web.Env("BALENA_SUPERVISOR_API_KEY")
	if len(key) < 16 || key == s.Key() {
		t.Errorf("the service's key is %q", key)
	}
	if status, body := harness.FetchFrom(t, web, http.MethodGet, address+"/v2/applications/31/state?apikey="+key); status != 200 {
		t.Errorf("state with the service's key: %d %s", status, body)
	}
	if status, _ := harness.FetchFrom(t, web, http.MethodGet, address+"/v1/device?apikey=wrong"); status != 401 {
		t.Errorf("device with a wrong key: %d, want 401", status)
	}
	for _, prefix := range []string{"BALENA_", "RESIN_"} {
		for _, name := range []string{"SUPERVISOR_API_KEY", "SUPERVISOR_PORT", "SUPERVISOR_HOST", "SUPERVISOR_ADDRESS", "API_KEY"} {
			if worker.HasEnv(prefix + name) {
				t.Errorf("worker has %s%s without a label for it", prefix, name)
			}
		}
	}
}

// checkLatestTag looks for the tag that keeps an image pulled by digest (docs/spec/engine.md 8.2).
func checkLatestTag(t *testing.T, e *harness.Engine, image harness.Image) {
	var info struct{ RepoTags []string }
	e.Must(t, http.MethodGet, "/images/"+image.Name+"/json", nil, &info)
	repo, _, _ := strings.Cut(image.Name, "@")
	if !slices.Contains(info.RepoTags, repo+":latest") {
		t.Errorf("tags of %s are %q", image.Name, info.RepoTags)
	}
}
