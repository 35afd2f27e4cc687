package host_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// docs/spec/cloud.md 4.7 and 10: 65; docs/spec/device-api.md 4: 104: the API and the cloud are told of addresses
// as they come and go, and of none that the engine, the VPN or the agent made for itself.
func TestAddresses(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	sys := t.TempDir() // of this network namespace
	if err := syscall.Mount("sysfs", sys, "sysfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(sys, syscall.MNT_DETACH) })
	h := newHost(t, harness.Setup{Cloud: cloud, Env: map[string]string{"MAC_ADDRESS_PATH": sys + "/class/net"}})
	ip := func(args ...string) {
		t.Helper()
		harness.RunTool(t, "ip", args...)
	}
	for i, name := range []string{"wan0", "tun7", "br-0123456789ab", "resin-vpn"} {
		ip("link", "add", name, "type", "veth", "peer", "name", fmt.Sprintf("peer%d", i))
		ip("link", "set", fmt.Sprintf("peer%d", i), "up")
		t.Cleanup(func() { harness.TryTool("ip", "link", "del", name) })
		ip("link", "set", name, "up")
	}
	mac := func(name string) string {
		t.Helper()
		out, err := exec.Command(harness.Tool(t, "ip"), "-brief", "link", "show", name).Output()
		fields := strings.Fields(string(out))
		if err != nil || len(fields) < 3 {
			t.Fatalf("%s: %v %s", name, err, out)
		}
		return strings.ToUpper(fields[2])
	}
	told := func(what string, byReport bool, ips ...string) {
		t.Helper()
		inside := []string{mac("tun7"), mac("br-0123456789ab"), mac("resin-vpn"), "00:00:00:00:00:00"}
		check := func(who, ipText, macText string) error {
			got, macs := strings.Fields(ipText), strings.Fields(macText)
			slices.Sort(got)
			if !slices.Equal(got, ips) {
				return fmt.Errorf("%s is told of %q", who, got)
			}
			if !slices.Contains(macs, mac("wan0")) {
				return fmt.Errorf("%s is told of %q", who, macs)
			}
			for _, m := range inside {
				if slices.Contains(macs, m) {
					return fmt.Errorf("%s is told of %q", who, macs)
				}
			}
			return nil
		}
		harness.Until(t, harness.Soon, what, func() error {
			d := h.Device()
			if err := check("the API", d.IPAddress, d.MACAddress); err != nil || !byReport {
				return err
			}
			state := cloud.Device(t, h.UUID).State
			return check("the cloud", fmt.Sprint(state["ip_address"]), fmt.Sprint(state["mac_address"]))
		})
	}
	ip("addr", "add", "203.0.113.5/24", "dev", "wan0")
	ip("addr", "add", "203.0.113.6/24", "dev", "tun7")
	ip("addr", "add", "203.0.113.7/24", "dev", "br-0123456789ab")
	ip("addr", "add", "203.0.113.8/24", "dev", "resin-vpn")
	told("an address", true, "203.0.113.5")
	ip("addr", "add", "2001:db8::5/64", "dev", "wan0", "nodad")
	ip("addr", "del", "203.0.113.5/24", "dev", "wan0")
	told("another address", false, "2001:db8::5") // reports keep a distance of 10 s
}
