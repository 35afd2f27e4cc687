package strategy_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

// unstarted waits until the engine has a container that it could not start, for a reason with a text in it.
func unstarted(t *testing.T, s *harness.Supervisor, id, why string) {
	t.Helper()
	harness.Until(t, harness.Soon, "a container that the engine could not start", func() error {
		c, err := s.Engine.Container(id)
		if err == nil && (c.State.Status != "exited" || !strings.Contains(c.State.Error, why)) {
			err = fmt.Errorf("%s: %s", c.State.Status, c.State.Error)
		}
		return err
	})
}

// isTroubled waits until the device says that the service does not run and why, everywhere.
func isTroubled(t *testing.T, s *harness.Supervisor, why string) {
	t.Helper()
	harness.Until(t, harness.Soon, "the trouble to be told", func() error {
		o := s.Status()
		for _, p := range o.Problems {
			if d := s.Device(); p.Subject == "app shop service web" && strings.Contains(p.Error, why) && o.UpdateFailed && d.UpdateFailed && d.UpdatePending {
				return nil
			}
		}
		return fmt.Errorf("%+v", o)
	})
	if text := s.Overview(); !strings.Contains(text, "updating, with failures") || strings.Contains(text, "up to date") || !strings.Contains(text, why) {
		t.Errorf("status says\n%s", text)
	}
}

// engine.md 5.5: the engine lost its networks, and so cannot start what was attached to them.
func TestEngineThatLostItsNetworks(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("unstarted/app:v1").Load(t)
	web := image.Service("web", 1).Composed("networks", list{"front", "back"}).Labelled("io.balena.features.supervisor-api", "1")
	app := harness.Shop("aaaa1", 1, web, image.Service("db", 2), image.Service("idle", 3))
	app.Networks = dict{"front": dict{}, "back": dict{}}
	s.Apply(harness.TargetOf(app))
	before := s.IDs()
	s.Post("/v2/applications/31/stop-service", dict{"serviceName": "idle"}).Want(t, 200, "OK")
	loseNetworks(t, s.Engine)
	s.WaitRunning("web_1001_1_aaaa1", "db_1002_1_aaaa1")
	s.WaitSettled(harness.Soon)
	containers := s.Containers()
	harness.WantVersion(t, containers["web"], "v1")
	harness.WantVersion(t, containers["db"], "v1")
	if n := len(containers["web"].NetworkSettings.Networks); n != 3 {
		t.Errorf("web is on %d networks, want 3", n)
	}
	if c := containers["idle"]; c.State.Running || c.ID != before["idle"] {
		t.Errorf("idle, which a user stopped, is %s", c.State.Status)
	}
	s.Post("/v2/applications/31/start-service", dict{"serviceName": "idle"}).Want(t, 200, "OK")
	harness.WantVersion(t, s.Containers()["idle"], "v1")
	s.WaitSettled(harness.Soon)
}

// loseNetworks restarts an engine without what it knew of its networks.
func loseNetworks(t *testing.T, e *harness.Engine) {
	t.Helper()
	var info struct{ DockerRootDir string }
	e.Must(t, http.MethodGet, "/info", nil, &info)
	e.Stop(t)
	if err := os.Remove(filepath.Join(info.DockerRootDir, "network/files/local-kv.db")); err != nil {
		t.Fatal(err)
	}
	e.Start(t)
}

// engine.md 5.5: after a restart of the engine another container has the address of the service. The service
// runs once the address is free.
func TestAddressTakenByAnotherContainer(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("unstarted/app:v1").Load(t)
	const address = "10.88.60.5"
	app := harness.Shop("aaaa1", 1, image.Service("web", 1).Composed("networks", dict{"front": dict{"ipv4_address": address}}))
	app.Networks = dict{"front": dict{"ipam": dict{"config": list{dict{"subnet": "10.88.60.0/24", "gateway": "10.88.60.1"}}}}}
	s.Apply(harness.TargetOf(app))
	web := s.Containers()["web"]
	var network string
	for name := range web.NetworkSettings.Networks {
		network = name
	}
	s.Stop()
	s.Engine.Must(t, http.MethodPost, "/containers/create?name=thief", dict{"Image": image.Name,
		"HostConfig":       dict{"NetworkMode": network, "RestartPolicy": dict{"Name": "always"}},
		"NetworkingConfig": dict{"EndpointsConfig": dict{network: dict{"IPAMConfig": dict{"IPv4Address": address}}}}}, nil)
	s.Engine.Must(t, http.MethodPost, "/containers/web_1001_1_aaaa1/stop", nil, nil)
	s.Engine.Must(t, http.MethodPost, "/containers/thief/start", nil, nil)
	// Which of the two the engine starts first is chance.
	for tries := 0; ; tries++ {
		s.Engine.Stop(t)
		s.Engine.Start(t)
		harness.Until(t, harness.Soon, "one of the two to run", func() error {
			if s.Engine.Running("thief") != nil && s.Engine.Running(web.ID) != nil {
				return errors.New("neither does")
			}
			return nil
		})
		if s.Engine.Running(web.ID) != nil {
			break
		}
		if tries == 20 {
			t.Fatal("the service was the first 20 times")
		}
	}
	unstarted(t, s, web.ID, "Address already in use")
	s.Start()
	isTroubled(t, s, "Address already in use")
	s.Engine.Must(t, http.MethodDelete, "/containers/thief?force=1", nil, nil)
	s.WaitRunning(web.ID)
	s.WaitSettled(harness.Soon)
	if text := s.Overview(); !strings.Contains(text, "up to date") {
		t.Errorf("status says\n%s", text)
	}
}

// engine.md 5.5: a device that the service needs is there later than the engine.
func TestDeviceThatAppearsLate(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("unstarted/app:v1").Load(t)
	node := filepath.Join(t.TempDir(), "late")
	plug := func() {
		t.Helper()
		if err := syscall.Mknod(node, syscall.S_IFCHR|0o666, 1<<8|3); err != nil { // as /dev/null
			t.Fatal(err)
		}
	}
	plug()
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1).Composed("devices", list{node + ":/dev/late"}))))
	web := s.Containers()["web"]
	s.Engine.Stop(t)
	if err := os.Remove(node); err != nil {
		t.Fatal(err)
	}
	s.Engine.Start(t)
	unstarted(t, s, web.ID, "no such file or directory")
	isTroubled(t, s, "no such file or directory")
	plug()
	s.WaitRunning(web.ID)
	s.WaitSettled(harness.Soon)

	// It is gone for a while again, and the engine cannot restart what ends meanwhile.
	if err := os.Remove(node); err != nil {
		t.Fatal(err)
	}
	harness.WantVersion(t, s.Containers()["web"], "v1") // it may just have been started
	harness.Ask(s.Containers()["web"], http.MethodPost, "/exit?code=3", "")
	isTroubled(t, s, "no such file or directory")
	plug()
	s.WaitRunning(web.ID)
	s.WaitSettled(harness.Soon)
}

// A service that a user stopped, and whose network was made again since, is started all the same, by all
// requests that start it.
func TestStartAfterTheNetworkWasMadeAgain(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("unstarted/app:v1").Load(t)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1).Composed("volumes", list{"data:/data"}))
	app = app.WithVolumes("data")
	s.Apply(harness.TargetOf(app))
	for _, start := range []struct {
		path string
		body any
	}{
		{"/v2/applications/31/start-service", dict{"serviceName": "web"}},
		{"/v2/applications/31/restart-service", dict{"serviceName": "web"}},
		{"/v1/apps/31/start", nil},
		{"/v1/restart", dict{"appId": 31}},
	} {
		s.Post("/v2/applications/31/stop-service", dict{"serviceName": "web"}).Want(t, 200, "OK")
		old, found := s.Engine.Network(t, "5aa0c0ffee5aa0c0ffee5aa0c0ffee51_default")
		if !found {
			old, found = s.Engine.Network(t, "31_default")
		}
		if !found {
			t.Fatal("the app has no network")
		}
		s.Engine.Must(t, http.MethodDelete, "/networks/"+old.ID, nil, nil)
		harness.Until(t, harness.Soon, "another network", func() error {
			if now, found := s.Engine.Network(t, old.Name); !found || now.ID == old.ID {
				return errors.New("not yet")
			}
			return nil
		})
		s.WaitSettled(harness.Soon)
		if c := s.Containers()["web"]; c.State.Running {
			t.Errorf("a service that a user stopped was started")
		}
		if answer := s.Post(start.path, start.body); answer.Status != 200 {
			t.Errorf("%s: %d %s", start.path, answer.Status, answer.Body)
		}
		if start.path == "/v1/restart" {
			continue // it leaves a stopped service as it is
		}
		harness.WantVersion(t, s.Containers()["web"], "v1")
		s.WaitSettled(harness.Soon)
	}
}
