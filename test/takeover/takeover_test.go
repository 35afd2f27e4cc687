// Package takeover_test proves that a device of a cloud that ran the widespread supervisor until now
// goes on with this one as if nothing had happened (docs/spec/cloud.md 7.6, issue 5 point 11). Its containers,
// networks and volumes are made here as that one makes them (docs/spec/engine.md 2.5 to 2.9, 3).
package takeover_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

const oldKey = "0123456789abcdefoldkeyofservice0"

// dict is a JSON object.
type dict = map[string]any

// original is the supervisor that was there before.
type original struct {
	t   *testing.T
	s   *harness.Supervisor
	app harness.App
}

// objects makes what the app's containers stand on.
func (o *original) objects() {
	e := o.s.Engine
	e.Must(o.t, http.MethodPost, "/networks/create", dict{"Name": "supervisor0", "CheckDuplicate": true, "Driver": "bridge",
		"Options": dict{"com.docker.network.bridge.name": "supervisor0"},
		"IPAM":    dict{"Driver": "default", "Config": []dict{{"Subnet": "10.114.104.0/25", "Gateway": "10.114.104.1"}}}}, nil)
	e.Must(o.t, http.MethodPost, "/networks/create", dict{"Name": harness.ShopUUID + "_default", "Driver": "bridge", "CheckDuplicate": true,
		"Options": dict{}, "EnableIPv6": false, "Internal": false, "ConfigOnly": false,
		"IPAM":   dict{"Driver": "default", "Config": []any{}, "Options": dict{}},
		"Labels": dict{"io.balena.supervised": "true", "io.balena.app-id": "31"}}, nil)
	e.Must(o.t, http.MethodPost, "/volumes/create", dict{"Name": "31_data", "Driver": "local", "DriverOpts": dict{},
		"Labels": dict{"io.balena.supervised": "true", "io.balena.app-uuid": harness.ShopUUID}}, nil)
}

// container makes the container of a service and starts it. Env and labels are those of its features;
// more is laid over the host part of the create document.
func (o *original) container(service harness.Service, env map[string]string, more dict) harness.Container {
	o.t.Helper()
	e := o.s.Engine
	name := o.app.ContainerName(service)
	all := []string{"USER=root", "PATH=/", "VERSION=v1", "BALENA_SERVICE_HANDOVER_COMPLETE_PATH=/tmp/balena/handover-complete",
		"RESIN_SERVICE_KILL_ME_PATH=/tmp/balena/handover-complete"}
	for name, value := range service.Env {
		all = append(all, name+"="+value)
	}
	both := map[string]string{"APP_ID": "31", "APP_UUID": harness.ShopUUID, "APP_NAME": "shop", "SERVICE_NAME": service.Name, "DEVICE_UUID": o.s.UUID,
		"DEVICE_TYPE": "raspberrypi3", "DEVICE_ARCH": "armv7hf", "HOST_OS_VERSION": "balenaOS 6.4.1",
		"APP_LOCK_PATH": "/tmp/balena/updates.lock", "DEVICE_NAME_AT_INIT": "an older name"}
	maps.Copy(both, env)
	for _, prefix := range []string{"BALENA", "RESIN"} {
		all = append(all, prefix+"=1")
		for name, value := range both {
			all = append(all, prefix+"_"+name+"="+value)
		}
	}
	labels := map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "31", "io.balena.service-id": fmt.Sprint(service.ID),
		"io.balena.service-name": service.Name, "io.balena.app-uuid": harness.ShopUUID}
	maps.Copy(labels, service.Labels)
	locks := "/tmp/balena-supervisor/services/31/" + service.Name
	host := dict{"NetworkMode": harness.ShopUUID + "_default", "Binds": []string{locks + ":/tmp/resin", locks + ":/tmp/balena"},
		"Mounts": []any{}, "Tmpfs": dict{}, "PortBindings": dict{}, "RestartPolicy": dict{"Name": "always", "MaximumRetryCount": 0},
		"IpcMode": "shareable", "PidMode": "", "UsernsMode": "", "Privileged": false, "ReadonlyRootfs": false,
		"CapAdd": []any{}, "CapDrop": []any{}, "SecurityOpt": []any{}, "Devices": []any{}, "DeviceRequests": []any{},
		"Dns": []any{}, "DnsOptions": []any{}, "DnsSearch": []any{}, "ExtraHosts": []any{}, "GroupAdd": []any{}, "Sysctls": dict{},
		"Ulimits": []any{}, "CgroupParent": "", "CpusetCpus": "", "CpuShares": 0, "CpuQuota": 0, "NanoCpus": 0, "Memory": 0,
		"MemoryReservation": 0, "OomKillDisable": false, "OomScoreAdj": 0, "PidsLimit": 0, "ShmSize": 64 << 20}
	maps.Copy(host, more)
	ports := dict{}
	if bound, _ := host["PortBindings"].(dict); bound != nil {
		for port := range bound {
			ports[port] = dict{}
		}
	}
	e.Must(o.t, http.MethodPost, "/containers/create?name="+name, dict{"Tty": true, "Cmd": []string{}, "Entrypoint": []string{"/main"},
		"Volumes": dict{}, "Env": all, "ExposedPorts": ports, "Image": e.ImageID(o.t, service.Image), "User": "", "WorkingDir": "",
		"Hostname": "", "Domainname": "", "MacAddress": "", "StopSignal": "SIGTERM", "StopTimeout": 10,
		"Healthcheck": dict{"Test": []string{"NONE"}}, "Labels": labels, "HostConfig": host,
		"NetworkingConfig": dict{"EndpointsConfig": dict{harness.ShopUUID + "_default": dict{"IPAMConfig": dict{}, "Aliases": []string{service.Name}}}}}, nil)
	if service.Labels["io.balena.features.supervisor-api"] != "" {
		e.Must(o.t, http.MethodPost, "/networks/supervisor0/connect", dict{"Container": name, "EndpointConfig": dict{}}, nil)
	}
	e.Must(o.t, http.MethodPost, "/containers/"+name+"/start", nil, nil)
	c, err := e.Container(name)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

// The device has a service that uses the device API, one that uses the cloud's, and a job that ended.
func TestFirstSwap(t *testing.T) {
	engine, registry, cloud := harness.SharedEngine(t), harness.SharedRegistry(t), &fakecloud.Cloud{}
	image := registry.PushDigest(t, harness.ServerImage("takeover/app:v1"))
	job := registry.PushDigest(t, harness.OneshotImage("takeover/job:v1"))
	engine.Pull(t, image.Name)
	engine.Pull(t, job.Name)
	s := harness.NewSupervisor(t, harness.Setup{Cloud: cloud, Apps: dict{}})
	web := harness.Service{ID: 92, Name: "web", ImageID: 1001, Image: image.Name}.Setting("MODE", "prod").
		Labelled("io.balena.features.supervisor-api", "1").Composed("volumes", []any{"data:/data"}).Composed("ports", []any{"8081:80"})
	uplink := harness.Service{ID: 93, Name: "uplink", ImageID: 1002, Image: image.Name}.Labelled("io.balena.features.balena-api", "1")
	once := harness.Service{ID: 94, Name: "once", ImageID: 1003, Image: job.Name}.Composed("restart", "no")
	app := harness.Shop("c0ffee01", 88, web, uplink, once).WithVolumes("data")

	o := &original{t, s, app}
	o.objects()
	before := map[string]harness.Container{}
	before["web"] = o.container(web, map[string]string{"SUPERVISOR_PORT": fmt.Sprint(s.Port), "SUPERVISOR_HOST": "10.114.104.1",
		"SUPERVISOR_ADDRESS": fmt.Sprintf("http://10.114.104.1:%d", s.Port), "SUPERVISOR_API_KEY": oldKey},
		dict{"PortBindings": dict{"80/tcp": []dict{{"HostIp": "", "HostPort": "8081"}}}, "Binds": []string{"31_data:/data",
			"/tmp/balena-supervisor/services/31/web:/tmp/resin", "/tmp/balena-supervisor/services/31/web:/tmp/balena"}})
	before["uplink"] = o.container(uplink, map[string]string{"API_KEY": harness.DeviceKey, "API_URL": cloud.Origin}, nil)
	before["once"] = o.container(once, nil, dict{"RestartPolicy": dict{"Name": "no", "MaximumRetryCount": 0}})
	harness.Until(t, harness.Soon, "the job to end", func() error {
		c, err := engine.Container(before["once"].ID)
		if before["once"] = c; err == nil && c.State.Status != "exited" {
			err = errors.New(c.State.Status)
		}
		return err
	})
	harness.MustAsk(t, before["web"], http.MethodPut, "/file?path=/data/kept", "precious")

	// What the original left on the data partition.
	database := map[string]string{"documents/database.sqlite": "SQLite format 3\x00 and much more", "documents/database.sqlite-journal": "x"}
	for path, text := range database {
		s.WriteFile(path, text)
	}
	stamp := modified(t, s, "documents/database.sqlite")
	config := s.ReadFile("boot/config.json")
	networks, volumes := networkIDs(t, engine), engine.Volumes(t)

	s.Assign(harness.Target{Config: map[string]string{"RESIN_SUPERVISOR_POLL_INTERVAL": "2000"}, Apps: []harness.App{app}})
	events := engine.Record(t)
	cloud.Down()
	s.Start() // without its cloud first: it knows nothing to do yet
	s.WaitListed()
	harness.Throughout(t, time.Second, "the containers to be left alone without a target", func() error { return same(before, s.Containers()) })
	cloud.Up(t)
	s.PollNow()
	s.WaitSettled(harness.Soon)
	for range 2 {
		s.Restart()
		s.WaitSettled(harness.Soon)
	}

	if err := same(before, s.Containers()); err != nil {
		t.Error(err)
	}
	for _, action := range []string{"create", "start", "restart", "kill", "stop", "die", "rename", "destroy"} {
		for _, e := range events.Events("container", action) {
			t.Errorf("%s of %s", action, e.Service())
		}
	}
	for _, kind := range []string{"network", "volume"} {
		for _, action := range []string{"create", "destroy", "remove"} {
			for _, e := range events.Events(kind, action) {
				t.Errorf("%s of %s %s", action, kind, e.Actor.ID)
			}
		}
	}
	for _, e := range events.Events("image", "pull") {
		t.Errorf("pull of %s", e.Actor.ID)
	}
	if now := networkIDs(t, engine); !maps.Equal(now, networks) {
		t.Errorf("networks are %v, were %v", now, networks)
	}
	if now := engine.Volumes(t)["31_data"]; now.CreatedAt != volumes["31_data"].CreatedAt {
		t.Error("the volume was recreated")
	}
	if got := harness.MustAsk(t, s.Containers()["web"], http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
		t.Errorf("the volume holds %q", got)
	}

	// The key that the service has still opens the device API for it.
	address := before["web"].Env("BALENA_SUPERVISOR_ADDRESS")
	if status, body := harness.FetchFrom(t, s.Containers()["web"], http.MethodGet, address+"/v2/applications/31/state?apikey="+oldKey); status != http.StatusOK {
		t.Errorf("device API with the key of the service: %d %s", status, body)
	}
	// The cloud hears of the release it delivered, at once complete.
	harness.Until(t, harness.Soon, "the release to be reported", func() error {
		device := cloud.Device(t, s.UUID)
		reported, _ := device.Apps[harness.ShopUUID].(dict)
		if reported["release_uuid"] != app.Commit {
			return fmt.Errorf("%v", device.Apps)
		}
		return nil
	})
	for _, r := range cloud.Calls(fakecloud.Report) {
		// What is on the device already is said to be there, once.
		if body := strings.ReplaceAll(string(r.Body), `"download_progress":100`, ""); strings.Contains(body, "ownload") || strings.Contains(body, "nstalling") {
			t.Errorf("reported work that was not needed: %s", body)
		}
	}
	for path, text := range database {
		if s.ReadFile(path) != text {
			t.Errorf("%s was changed", path)
		}
	}
	if !modified(t, s, "documents/database.sqlite").Equal(stamp) {
		t.Error("the database was written")
	}
	if s.ReadFile("boot/config.json") != config {
		t.Errorf("config.json is %s, was %s", s.ReadFile("boot/config.json"), config)
	}
	if n := len(cloud.Calls(fakecloud.Register, fakecloud.DeviceKey, fakecloud.ConfigVar)); n != 0 {
		t.Errorf("%d calls of a device that is new", n)
	}
}

func modified(t *testing.T, s *harness.Supervisor, path string) time.Time {
	t.Helper()
	info, err := os.Stat(s.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func networkIDs(t *testing.T, e *harness.Engine) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, n := range e.Networks(t) {
		ids[n.Name] = n.ID
	}
	return ids
}

// same is nil when every container is the one it was and ran all the time.
func same(before, now map[string]harness.Container) error {
	for name, was := range before {
		c := now[name]
		if c.ID != was.ID || c.Name != was.Name || c.State.StartedAt != was.State.StartedAt || c.State.Running != was.State.Running {
			return fmt.Errorf("%s was %.12s %s since %s, and is %.12s %s since %s", name,
				was.ID, was.State.Status, was.State.StartedAt, c.ID, c.State.Status, c.State.StartedAt)
		}
	}
	if len(now) != len(before) {
		return fmt.Errorf("%d containers, were %d", len(now), len(before))
	}
	return nil
}
