package launch_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

const soon = 2 * harness.Soon

// shop is an app of two services.
func shop(t *testing.T) harness.Target {
	app, _ := harness.ShopAndSolo(harness.ServerImage("launch/app:v1").Load(t))
	return harness.TargetOf(app)
}

// docs/spec/host.md 9: 1; 1.2, 1.3: what the host has on its partitions is found below its root, the commands
// work in the container, and what is written is written there.
func TestStartsWithTheArgumentsOfTheHost(t *testing.T) {
	each(t, func(t *testing.T, release string) {
		target := shop(t)
		s := harness.NewSupervisor(t, harness.Setup{Launch: release})
		s.WriteJSON("root/mnt/data/apps.json", target.V3())
		s.Expect(target)
		s.Start()
		s.WaitSettled(soon)
		if code, _, errs := s.Run("healthcheck"); code != 0 {
			t.Errorf("healthcheck in the container: code %d %s", code, errs)
		}
		if got := s.Overview(); !strings.Contains(got, "raspberrypi3") || !strings.Contains(got, "web") {
			t.Errorf("status: %s", got)
		}
		if got := s.Get("/v1/device"); !strings.Contains(got.Body, `"os_version":"balenaOS 6.4.1"`) {
			t.Errorf("device: %d %s", got.Status, got.Body)
		}
		s.Call(harness.Request{Method: http.MethodPatch, Path: "/v1/device/host-config",
			Body: map[string]any{"network": map[string]any{"hostname": "greenhouse"}}}).Want(t, 200, "OK")
		if got := s.ReadFile("root/mnt/boot/config.json"); !strings.Contains(got, `"hostname":"greenhouse"`) {
			t.Errorf("config.json of the host: %s", got)
		}
		lock := s.Path("root/tmp/balena-supervisor/services/31/web/updates.lock")
		if err := os.WriteFile(lock, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := s.Post("/v1/restart", map[string]any{"appId": 31}); got.Status != http.StatusLocked {
			t.Errorf("restart under a lock: %d %s", got.Status, got.Body)
		}
		os.Remove(lock)
		for _, name := range []string{"rollback-health-breadcrumb", "rollback-altboot-breadcrumb"} {
			s.WriteFile("root/mnt/state/"+name, "")
			if got := s.Post("/v1/reboot", nil); got.Status != http.StatusLocked {
				t.Errorf("reboot during an update of the host, with %s: %d %s", name, got.Status, got.Body)
			}
			os.Remove(s.Path("root/mnt/state", name))
		}
		if entries, _ := os.ReadDir(s.Path("root/resin-data/balena-supervisor")); len(entries) == 0 {
			t.Error("the supervisor keeps nothing in its folder of the data partition")
		}
	})
}

// docs/spec/host.md 9: 2.
func TestEmptyVariablesAreNotGiven(t *testing.T) {
	empty := map[string]string{}
	for _, name := range []string{"ROOT_MOUNTPOINT", "BOOT_MOUNTPOINT", "STATE_MOUNTPOINT", "DATA_MOUNTPOINT", "CONFIG_MOUNT_POINT",
		"HOST_OS_VERSION_PATH", "VPN_STATUS_PATH", "MAC_ADDRESS_PATH", "SUPERVISOR_STATE_DIR", "DBUS_SYSTEM_BUS_ADDRESS",
		"SUPERVISOR_TAG_EXTRA", "SUPERVISOR_CONTAINER_ID", "BALENA_ROOT_CA"} {
		empty[name] = ""
	}
	s := harness.StartSupervisor(t, harness.Setup{Launch: "8.0.2", Env: empty})
	s.WaitListed()
	if d := s.Device(); d.OSVersion != "balenaOS 6.4.1" {
		t.Errorf("os_version %q", d.OSVersion)
	}
	var info struct{ Info struct{ DeviceType string } }
	if s.Get("/v2/local/device-info").JSON(t, &info); info.Info.DeviceType != "raspberrypi3" {
		t.Errorf("device type %q", info.Info.DeviceType)
	}
}

// docs/spec/host.md 9: 7, 8; 3: a device of a cloud, with numbers written as texts, is updated to another
// image of the supervisor, and nobody notices.
func TestAnotherImageOfTheSupervisor(t *testing.T) {
	each(t, func(t *testing.T, release string) {
		engine := harness.SharedEngine(t)
		target := shop(t)
		s := harness.NewSupervisor(t, harness.Setup{Launch: release, Cloud: new(fakecloud.Cloud),
			Config: map[string]any{"deviceId": "12", "registered_at": "1700000000", "appUpdatePollInterval": "2000"}})
		text := `{"listenPort":"` + strconv.Itoa(s.Port) + `","wifiKey":"a\u00e9 <&>","big":12345678901234567890,` + s.ReadFile("boot/config.json")[1:]
		s.WriteFile("boot/config.json", text)
		s.Assign(target)
		s.Start()
		s.WaitSettled(soon)
		before := s.Containers()
		s.Stop()
		s.Remake(harness.PackImage(t, engine, "resin-supervisor:another"))
		s.Start()
		s.PollNow()
		s.WaitSettled(soon)
		after := s.Containers()
		for name, c := range before {
			if now := after[name]; now.ID != c.ID || now.State.StartedAt != c.State.StartedAt {
				t.Errorf("%s was touched: %.12s of %s is %.12s of %s", name, c.ID, c.State.StartedAt, now.ID, now.State.StartedAt)
			}
		}
		if got := s.ReadFile("boot/config.json"); got != text {
			t.Errorf("config.json was\n%s\nand is\n%s", text, got)
		}
		s.Call(harness.Request{Method: http.MethodPatch, Path: "/v1/device/host-config",
			Body: map[string]any{"network": map[string]any{"hostname": "greenhouse"}}}).Want(t, 200, "OK")
		got := s.ReadFile("boot/config.json")
		for _, word := range []string{`"listenPort":"` + strconv.Itoa(s.Port) + `"`, `"deviceId":"12"`, `"registered_at":"1700000000"`,
			`"appUpdatePollInterval":"2000"`, `"wifiKey":"a\u00e9 <&>"`, `"big":12345678901234567890`, `"hostname":"greenhouse"`} {
			if !strings.Contains(got, word) {
				t.Errorf("config.json lacks %s: %s", word, got)
			}
		}
	})
}

// docs/spec/host.md 1.3: the system bus is that of the host, below its root.
func TestBusOfTheHost(t *testing.T) {
	bus := harness.NewBus(t)
	s := harness.NewSupervisor(t, harness.Setup{Launch: "8.0.2"})
	s.Share(strings.TrimPrefix(bus.Address, "unix:path="), "root/run/dbus/system_bus_socket")
	s.Start()
	s.WaitListed()
	if got := s.Post("/v1/reboot", nil); got.Status != http.StatusAccepted {
		t.Fatalf("reboot: %d %s", got.Status, got.Body)
	}
	harness.Until(t, soon, "logind", func() error {
		if bus.Asked("Reboot") != 1 {
			return errors.New("was not asked")
		}
		return nil
	})
}

// docs/spec/host.md 1.3: services of a host from before 2020 have their locks in resin-supervisor.
func TestOldNameOfTheLocks(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{Launch: "6.12.1", WithoutContainers: true})
	if err := os.Rename(s.Path("root/tmp/balena-supervisor"), s.Path("root/tmp/resin-supervisor")); err != nil {
		t.Fatal(err)
	}
	s.Start()
	if link, err := os.Readlink(s.Path("root/tmp/balena-supervisor")); err != nil || filepath.IsAbs(link) {
		t.Errorf("balena-supervisor is a link to %q: %v", link, err)
	}
	s.Stop()
	s.Remake("")
}

// README, "As a container": a host without balenaOS has none of its partitions; what would be there is in the state
// directory, and the device is the same after a restart.
func TestHostWithoutPartitions(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{Launch: "8.0.2", WithoutContainers: true,
		Env: map[string]string{"BOOT_MOUNTPOINT": ""}})
	if err := os.RemoveAll(s.Path("root/mnt")); err != nil {
		t.Fatal(err)
	}
	s.WriteFile("root/etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
	s.Start()
	const config = "root/resin-data/balena-supervisor/boot/config.json"
	made := s.ReadFile(config)
	if !strings.Contains(made, `"uuid"`) {
		t.Fatalf("config.json: %q", made)
	}
	if code, _, errs := s.Run("healthcheck"); code != 0 {
		t.Errorf("healthcheck in the container: code %d %s", code, errs)
	}
	s.Stop()
	s.Remake("")
	s.Start()
	if got := s.ReadFile(config); got != made {
		t.Errorf("config.json was %s, and is %s", made, got)
	}
	if entries, err := os.ReadDir(s.Path("root/mnt")); err == nil {
		t.Errorf("the host has %v", entries)
	}
}
