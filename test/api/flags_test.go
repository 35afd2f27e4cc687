package api_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

// device-api.md 100: a first installation over a slow network.
func TestFirstInstallIsShown(t *testing.T) {
	registry := harness.SharedRegistry(t)
	net := registry.Slow(t, 400_000)
	image := net.Of(registry.Push(t, harness.ServerImage("api/first:v1").WithBlob(800_000)))
	s := harness.StartSupervisor(t, harness.Setup{})
	s.WaitListed()
	target := harness.TargetOf(harness.Shop("aaaa1", 11, image.Service("web", 1)))
	s.PostTarget(target)
	var progress []int
	harness.Until(t, harness.Soon, "the installation", func() error {
		if d := s.Device(); d.Status == "Downloading" {
			if d.DownloadProgress == nil || *d.DownloadProgress != float64(int(*d.DownloadProgress)) || !d.UpdatePending || d.UpdateDownloaded {
				t.Errorf("while downloading the device says %+v", d)
			} else {
				progress = append(progress, int(*d.DownloadProgress))
			}
		}
		return s.Settled()
	})
	if len(progress) < 3 || !slices.IsSorted(progress) || progress[0] < 0 || progress[len(progress)-1] > 100 {
		t.Errorf("progress went %v", progress)
	}
}

// device-api.md 101, 102, 108, 112: the flags of an update that a lock holds up, to its end.
func TestFlagsOfAnUpdateUnderALock(t *testing.T) {
	f, registry := newFleet(t), harness.SharedRegistry(t)
	net := registry.Slow(t, 400_000)
	image := net.Of(registry.Push(t, harness.ServerImage("api/locked:v2").WithBlob(800_000)))
	path := f.LockUpdates(32, "main")
	f.solo.Commit, f.solo.Release = "bbbb2", 22
	f.solo.Services[0] = f.solo.Services[0].Using(image.Name, 2003)
	before := f.IDs()
	f.PostTarget(f.target())
	var seen []string
	state := func() string {
		d := f.Device()
		return fmt.Sprintf("%s pending %v downloaded %v failed %v", d.Status, d.UpdatePending, d.UpdateDownloaded, d.UpdateFailed)
	}
	note := func(s string) {
		if len(seen) == 0 || seen[len(seen)-1] != s {
			seen = append(seen, s)
		}
	}
	const locked = "Idle pending true downloaded true failed true"
	harness.Until(t, harness.Soon, "the lock to hold up the release", func() error {
		s := state()
		note(s)
		if s != locked {
			return fmt.Errorf("%q", seen)
		}
		return nil
	})
	if !slices.Contains(seen, "Downloading pending true downloaded false failed false") {
		t.Errorf("flags went %q", seen)
	}
	for i, s := range seen {
		if i > 0 && strings.Contains(seen[i-1], "downloaded true") && strings.Contains(s, "downloaded false") || strings.Contains(s, "pending false") && i > 0 {
			t.Errorf("flags went %q", seen)
		}
	}
	for _, want := range []string{`"appState":"applying"`, `"release":"aaaa1"`} {
		if a := f.Get("/v2/state/status"); !strings.Contains(a.Body, want) {
			t.Errorf("under the lock the state is %s", a.Body)
		}
	}
	var apps map[string]struct{ UpdateStatus string }
	if f.Get("/v2/applications/state").JSON(t, &apps); apps["solo"].UpdateStatus != "downloaded" && apps["solo"].UpdateStatus != "applying changes" {
		t.Errorf("under the lock the update is %q", apps["solo"].UpdateStatus)
	}
	if now := f.IDs(); now["main"] != before["main"] {
		t.Error("main was replaced under its lock")
	}
	f.Post("/v1/update", map[string]any{"force": true}).Want(t, 204, "")
	f.WaitSettled(harness.Soon)
	if s := state(); s != "Idle pending false downloaded false failed false" || harness.Exists(path) || f.IDs()["main"] == before["main"] {
		t.Errorf("after the forced update: %s, the lock is there: %v", s, harness.Exists(path))
	}
}

// device-api.md 104: the addresses of the device, not those of containers, the VPN or loopback.
func TestAddresses(t *testing.T) {
	ip := func(args string) {
		t.Helper()
		harness.RunTool(t, "ip", strings.Fields(args)...)
	}
	ip("link add eth7 address 02:00:5e:10:00:07 type veth peer name eth8")
	t.Cleanup(func() { ip("link del eth7") })
	ip("addr add 192.0.2.7/24 dev eth7")
	ip("addr add 2001:db8::7/64 dev eth7 nodad")
	ip("link set eth7 up")
	ip("link set eth8 up")
	ip("link add resin-vpn type veth peer name vpn-peer")
	t.Cleanup(func() { ip("link del resin-vpn") })
	ip("addr add 198.51.100.3/24 dev resin-vpn")
	ip("link set resin-vpn up")
	ip("link set vpn-peer up")
	// The interfaces of this network namespace.
	sys := t.TempDir()
	if err := syscall.Mount("sysfs", sys, "sysfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(sys, syscall.MNT_DETACH) })
	env := map[string]string{"MAC_ADDRESS_PATH": sys + "/class/net"}
	if os.Getenv(harness.EnvLaunch) != "" {
		env = nil // a container has such a sysfs
	}
	f := harness.StartSupervisor(t, harness.Setup{Env: env})
	f.WaitListed()
	var d struct {
		IP  string `json:"ip_address"`
		MAC string `json:"mac_address"`
	}
	harness.Until(t, harness.Soon, "the addresses", func() error {
		f.Get("/v1/device").JSON(t, &d)
		if ips := strings.Split(d.IP, " "); !slices.Contains(ips, "192.0.2.7") || !slices.Contains(ips, "2001:db8::7") {
			return fmt.Errorf("ip_address is %q", d.IP)
		}
		return nil
	})
	if !slices.Contains(strings.Split(d.MAC, " "), "02:00:5E:10:00:07") {
		t.Errorf("mac_address is %q", d.MAC)
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if !strings.HasPrefix(l.Name, "docker") && !strings.HasPrefix(l.Name, "br-") && !strings.HasPrefix(l.Name, "veth") &&
			l.Name != "lo" && l.Name != "supervisor0" && l.Name != "resin-vpn" {
			continue
		}
		addrs, _ := l.Addrs()
		for _, a := range addrs {
			text, _, _ := strings.Cut(a.String(), "/")
			if slices.Contains(strings.Split(d.IP, " "), text) {
				t.Errorf("%s of %s is shown: %s", text, l.Name, d.IP)
			}
		}
	}
}

// device-api.md 109: a release that asks for more than the device has is rejected, and its app stays.
func TestRejectedReleaseIsShown(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	f.solo.Commit, f.solo.Release = "bbbb2", 22
	doc := f.target().V2()
	raw, _ := json.Marshal(doc)
	var edited map[string]any
	json.Unmarshal(raw, &edited)
	app := edited["local"].(map[string]any)["apps"].(map[string]any)["32"].(map[string]any)
	app["services"].(map[string]any)["3"].(map[string]any)["contract"] = map[string]any{"type": "sw.container", "slug": "main",
		"requires": []any{map[string]any{"type": "sw.supervisor", "version": ">=9999"}}}
	f.Post("/v2/local/target-state", edited).Want(t, 200, `{"status":"success","message":"OK"}`)
	harness.Until(t, harness.Soon, "the rejection", func() error {
		var apps map[string]struct {
			UpdateStatus string
			Services     map[string]any
		}
		f.Get("/v2/applications/state").JSON(t, &apps)
		if solo := apps["solo"]; solo.UpdateStatus != "rejected" || len(solo.Services) != 0 || solo.Services == nil {
			return fmt.Errorf("%+v", apps)
		}
		return nil
	})
	for name, id := range before {
		if now := f.Containers()[name]; now.ID != id || !now.State.Running {
			t.Errorf("container of %s was %.12s, is %.12s, %s", name, id, now.ID, now.State.Status)
		}
	}
	if d := f.Device(); !d.UpdateFailed {
		t.Error("update_failed is false")
	}
}

// device-api.md 117.
func TestNewNameOfTheDevice(t *testing.T) {
	f := newFleet(t)
	before := f.IDs()
	target := f.target()
	target.Name = "holy-moon"
	f.Apply(target)
	f.Get("/v2/device/name").Want(t, 200, `{"status":"success","deviceName":"holy-moon"}`)
	f.changed(t, before)
}

// device-api.md 45, 46: who gets the variables, and that they work from inside the container.
func TestServiceFindsTheAPI(t *testing.T) {
	f := newFleet(t)
	containers := f.Containers()
	web, db := containers["web"], containers["db"]
	for _, family := range []string{"BALENA_", "RESIN_"} {
		for _, name := range []string{"SUPERVISOR_API_KEY", "SUPERVISOR_PORT", "SUPERVISOR_HOST", "SUPERVISOR_ADDRESS"} {
			if web.Env(family+name) == "" {
				t.Errorf("web has no %s%s", family, name)
			}
			if db.HasEnv(family + name) {
				t.Errorf("db has %s%s without the label", family, name)
			}
		}
	}
	key, address := web.Env("BALENA_SUPERVISOR_API_KEY"), web.Env("BALENA_SUPERVISOR_ADDRESS")
	if address != fmt.Sprintf("http://%s:%d", web.Env("BALENA_SUPERVISOR_HOST"), f.Port) || web.Env("RESIN_SUPERVISOR_API_KEY") != key {
		t.Errorf("address %q, port %q", address, web.Env("BALENA_SUPERVISOR_PORT"))
	}
	keys := []string{f.Key(), key, containers["main"].Env("BALENA_SUPERVISOR_API_KEY")}
	for i, k := range keys {
		if !regexp.MustCompile(`^[A-Za-z0-9_]{16,64}$`).MatchString(k) || slices.Contains(keys[:i], k) {
			t.Errorf("key %d is %q", i, k)
		}
	}
	if status, body := harness.FetchFrom(t, web, "GET", address+"/v1/device?apikey="+key); status != 200 || !strings.Contains(body, "api_port") {
		t.Errorf("from inside the container: %d %s", status, body)
	}
	if status, _ := harness.FetchFrom(t, web, "GET", address+"/v1/device"); status != 401 {
		t.Errorf("from inside the container without the key: %d", status)
	}
}

// device-api.md 12, 36: blink reads no body, and takes any key.
func TestBlinkReadsNoBody(t *testing.T) {
	f := newFleet(t)
	f.Call(harness.Request{Method: "POST", Path: "/v1/blink", Body: "{bad"}).Want(t, 200, "OK")
	f.CallAs(f.keyOf(t, "web"), "POST", "/v1/blink", nil).Want(t, 200, "OK")
	f.CallAs("", "POST", "/v1/blink", nil).Want(t, 401, "Unauthorized")
}
