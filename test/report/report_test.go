package report_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 49, 50, 51, 52, 53, 66: what the first report holds, and the next ones, and when they come.
// That the cloud takes them says that they keep the schema.
func TestReports(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 600000}})
	s.Assign(shop(1, service("web", 1, local(t, "v1")), service("db", 2, local(t, "v2"))))
	s.Start()
	r := first(t, s, cloud)
	if r.Status != 200 || r.Bearer != "Bearer "+harness.DeviceKey || !strings.HasPrefix(r.Agent, "Supervisor/") {
		t.Errorf("first report: %d, %s, %s", r.Status, r.Bearer, r.Agent)
	}
	for name, want := range map[string]any{"status": "Idle", "os_version": "balenaOS 6.4.1", "os_variant": "prod", "provisioning_state": "",
		"provisioning_progress": nil, "api_port": float64(s.Port), "api_secret": s.Key(), "is_undervolted": r.fields["is_undervolted"] == true} {
		if got, given := r.fields[name]; !given || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"supervisor_version", "ip_address", "cpu_usage", "cpu_temp", "memory_usage", "memory_total", "storage_block_device", "storage_usage"} {
		if got, given := r.fields[name]; !given || got == nil {
			t.Errorf("%s is %v", name, got)
		}
	}
	if mac, given := r.fields["mac_address"]; given && mac == "" {
		t.Error("an empty mac_address is sent")
	}
	told(t, s, cloud, "commit1", "done", "db Running, web Running", "commit1")
	n := len(reports(t, s, cloud))
	last := reports(t, s, cloud)[n-1]
	// cloud.md 53: two changes within 10 s of the last report come in one.
	if a := s.Post("/v1/regenerate-api-key", nil); a.Status != 200 {
		t.Fatalf("regenerate: %d %s", a.Status, a.Body)
	}
	s.ForgetKey()
	s.Engine.Must(t, http.MethodPost, "/containers/"+s.Containers()["db"].ID+"/pause", nil, nil)
	r = next(t, s, cloud, n)
	if gap := r.At.Sub(last.At); gap < 10*time.Second {
		t.Errorf("the report came %v after the one before", gap)
	}
	if names := r.names(); !slices.Equal(names, []string{"api_secret", "apps"}) || r.fields["api_secret"] != s.Key() {
		t.Errorf("report of %v", r.fields)
	}
	if got := dig(r.fields, "apps", harness.ShopUUID, "releases", "commit1", "services", "db", "status"); got != "paused" {
		t.Errorf("db is %v", got)
	}
	// cloud.md 52: apps come whole.
	if got := dig(r.fields, "apps", harness.ShopUUID, "releases", "commit1", "services", "web", "status"); got != "Running" {
		t.Errorf("web is %v", got)
	}
	// cloud.md 51, 54: nothing comes of nothing, not even metrics.
	time.Sleep(15 * time.Second)
	if all := reports(t, s, cloud); len(all) != n+1 {
		t.Errorf("more reports: %v", all[n+1:])
	}
	// cloud.md 59: the next run says what changed.
	s.Stop()
	s.Engine.Must(t, http.MethodPost, "/containers/"+s.Containers()["db"].ID+"/unpause", nil, nil)
	s.Start()
	for n++; ; n++ { // what is new of the hardware comes at once, of the engine when that was asked
		if r = next(t, s, cloud, n); len(r.names()) > 0 {
			break
		}
	}
	if !slices.Equal(r.names(), []string{"apps"}) {
		t.Errorf("first report after a restart: %v", r.fields)
	}
	s.Stop()
	s.WriteFile("root/tmp/balena-supervisor/state-report-cache", "{ not JSON")
	n = len(reports(t, s, cloud))
	s.Start()
	if r = next(t, s, cloud, n); r.fields["os_version"] != "balenaOS 6.4.1" || r.fields["api_secret"] != s.Key() {
		t.Errorf("report after the cache broke: %v", r.fields)
	}
}

// cloud.md 57, 58: a report that failed is tried again until it is taken, with what is new by then.
func TestFailedReports(t *testing.T) {
	s, cloud := beside(t)
	cloud.Break(fakecloud.Report, fakecloud.Status(503))
	s.Start()
	first(t, s, cloud)
	if a := s.Post("/v1/regenerate-api-key", nil); a.Status != 200 {
		t.Fatalf("regenerate: %d %s", a.Status, a.Body)
	}
	s.ForgetKey()
	harness.Until(t, soon, "another try with the new key and all the rest", func() error {
		all := reports(t, s, cloud)
		if r := all[len(all)-1]; len(all) < 2 || r.fields["api_secret"] != s.Key() || r.fields["os_version"] == nil {
			return fmt.Errorf("the last of %d reports is %v", len(all), r.fields)
		}
		return nil
	})
	cloud.Mend(fakecloud.Report)
	taken(t, s, cloud)
}

// cloud.md 57, 58: a report is tried again when its answer does not come, or not whole.
func TestReportsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fakecloud.Fault{"dropped": fakecloud.Drop, "lost": fakecloud.Lose, "truncated": fakecloud.Truncate} {
		t.Run(name, func(t *testing.T) {
			s, cloud := beside(t)
			cloud.Break(fakecloud.Report, fault)
			s.Start()
			harness.WaitRequests(t, soon, cloud, fakecloud.Report, 2)
			n := len(cloud.Calls(fakecloud.Report))
			cloud.Mend(fakecloud.Report)
			harness.Until(t, soon, "another try", func() error {
				if all := cloud.Calls(fakecloud.Report); len(all) <= n || all[len(all)-1].Status != 200 {
					return errors.New("not yet")
				}
				return nil
			})
			taken(t, s, cloud)
		})
	}
}

// taken waits until the cloud has the device's key, from a report.
func taken(t *testing.T, s *harness.Supervisor, cloud *fakecloud.Cloud) {
	t.Helper()
	harness.Until(t, soon, "the report", func() error {
		if cloud.Device(t, s.UUID).State["api_secret"] != s.Key() {
			return errors.New("not yet")
		}
		return nil
	})
}

// cloud.md 57, Q7: the cloud says in seconds when to come back.
func TestRetryAfter(t *testing.T) {
	s, cloud := beside(t)
	cloud.Break(fakecloud.Report, fakecloud.Status(429, "Retry-After", "3"), 1)
	s.Start()
	r := next(t, s, cloud, 1)
	if gap := r.At.Sub(reports(t, s, cloud)[0].At); gap < 3*time.Second || gap > 14*time.Second {
		t.Errorf("tried again after %v, want 3 s", gap)
	}
}

// cloud.md 56: without hardware metrics there are eight nulls, once.
func TestNoMetrics(t *testing.T) {
	s, cloud := beside(t)
	target := shop(1)
	target.Config = map[string]string{"RESIN_SUPERVISOR_HARDWARE_METRICS": "false"}
	s.Assign(target)
	s.Start()
	harness.Until(t, soon, "the nulls", func() error {
		state := cloud.Device(t, s.UUID).State
		for _, name := range metrics {
			if value, given := state[name]; !given || value != nil {
				return fmt.Errorf("%s is %v", name, value)
			}
		}
		if _, ok := state["is_undervolted"].(bool); !ok {
			return fmt.Errorf("is_undervolted is %v", state["is_undervolted"])
		}
		return nil
	})
	n := len(reports(t, s, cloud))
	if a := s.Post("/v1/regenerate-api-key", nil); a.Status != 200 {
		t.Fatalf("regenerate: %d %s", a.Status, a.Body)
	}
	s.ForgetKey()
	if r := next(t, s, cloud, n); len(r.fields) != 1 {
		t.Errorf("the next report is of %v", r.fields)
	}
}

// cloud.md 60, engine.md 91: apps that are not in the target are not reported, in local mode none is.
func TestWhichAppsAreReported(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 1000}})
	target := shop(1, service("web", 1, local(t, "v1")))
	s.Assign(target)
	s.Start()
	told(t, s, cloud, "commit1", "done", "web Running", "commit1")
	other := target.Apps[0].With(service("web", 1, local(t, "v2")))
	other.UUID, other.ID = "6bb0c0ffee6bb0c0ffee6bb0c0ffee62", 32
	s.Assign(harness.TargetOf(other))
	harness.Until(t, soon, "the report of the other app", func() error {
		apps := cloud.Device(t, s.UUID).Apps
		if len(apps) != 1 || apps[other.UUID] == nil || dig(apps[other.UUID], "release_uuid") == nil {
			return fmt.Errorf("the cloud knows %v", apps)
		}
		return nil
	})
	s.Assign(harness.Target{Apps: []harness.App{other}, Config: map[string]string{"RESIN_SUPERVISOR_LOCAL_MODE": "1"}})
	harness.Until(t, soon, "local mode", func() error {
		if !strings.Contains(s.ReadFile("documents/local-mode.json"), "taken") {
			return errors.New("not yet")
		}
		return nil
	})
	n := len(reports(t, s, cloud))
	s.ForgetKey()
	if a := s.Post("/v1/regenerate-api-key", nil); a.Status != 200 {
		t.Fatalf("regenerate: %d %s", a.Status, a.Body)
	}
	s.ForgetKey()
	for ; ; n++ {
		r := next(t, s, cloud, n)
		if r.fields["api_secret"] != nil {
			if r.fields["apps"] != nil {
				t.Errorf("report in local mode: %v", r.fields)
			}
			return
		}
	}
}

// cloud.md 65: a change of addresses is reported, and those of containers' networks are not.
func TestAddresses(t *testing.T) {
	nics := t.TempDir() // stands for /sys/class/net, which is the machine's own here
	nic := func(name, address string) {
		dir := filepath.Join(nics, name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(dir+"/type", []byte("1\n"), 0o644), os.WriteFile(dir+"/address", []byte(address+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	nic("eth0", "02:00:00:00:0a:01")
	nic("docker0", "02:00:00:00:0a:02")
	s, cloud := harness.NewManaged(t, harness.Setup{Env: map[string]string{"MAC_ADDRESS_PATH": nics}})
	s.Assign(shop(1))
	s.Start()
	if mac := first(t, s, cloud).fields["mac_address"]; mac != "02:00:00:00:0A:01" {
		t.Errorf("reported hardware addresses: %v", mac)
	}
	nic("nic0", "02:00:00:00:0a:0b")
	if ip, _ := first(t, s, cloud).fields["ip_address"].(string); strings.Contains(ip, "172.") || strings.Contains(ip, "127.") || strings.Contains(ip, "10.114.") {
		t.Errorf("reported addresses: %q", ip)
	}
	for _, args := range []string{"link add nic0 address 02:00:00:00:0a:0b type veth peer name nic1", "link set nic1 up", "addr add 192.168.7.20/24 dev nic0", "link set nic0 up"} {
		harness.RunTool(t, "ip", strings.Fields(args)...)
	}
	t.Cleanup(func() { harness.TryTool("ip", "link", "del", "nic0") })
	harness.Until(t, soon, "the address", func() error {
		state := cloud.Device(t, s.UUID).State
		if ip, _ := state["ip_address"].(string); !slices.Contains(strings.Fields(ip), "192.168.7.20") {
			return fmt.Errorf("ip_address is %q", ip)
		}
		if mac, _ := state["mac_address"].(string); mac != "02:00:00:00:0A:01 02:00:00:00:0A:0B" {
			return fmt.Errorf("mac_address is %q", mac)
		}
		return nil
	})
}

// cloud.md 67, 64: fifty services fit into a report; and all that any report said is in the list.
func TestManyServices(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 600000}})
	var services []harness.Service
	for i := range 50 {
		image := fmt.Sprintf("registry.invalid/v2/%032d@sha256:%064d", i, i)
		services = append(services, service(fmt.Sprintf("service-with-quite-a-long-name-%02d", i), i+1, image))
	}
	s.Assign(shop(1, services...))
	s.Start()
	harness.Until(t, soon, "fifty services", func() error {
		all, _ := dig(cloud.Device(t, s.UUID).Apps[harness.ShopUUID], "releases", "commit1", "services").(map[string]any)
		if len(all) != 50 {
			return fmt.Errorf("%d services", len(all))
		}
		return nil
	})
	for _, r := range reports(t, s, cloud) {
		if len(r.Body) >= 512<<10 || r.Status != 200 {
			t.Errorf("report of %d bytes: %d", len(r.Body), r.Status)
		}
		known(t, r)
	}
}

// known fails the test when a report has a status that the cloud does not know.
func known(t *testing.T, r report) {
	t.Helper()
	apps, _ := r.fields["apps"].(map[string]any)
	for uuid := range apps {
		releases, _ := dig(apps, uuid, "releases").(map[string]any)
		for commit := range releases {
			services, _ := dig(releases, commit, "services").(map[string]any)
			for name := range services {
				if word, _ := dig(services, name, "status").(string); !slices.Contains(fakecloud.Statuses, word) {
					t.Errorf("%s is %q", name, word)
				}
			}
		}
	}
}
