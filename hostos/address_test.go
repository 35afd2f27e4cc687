package hostos

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestIsInternal(t *testing.T) {
	for _, name := range []string{
		"balena0", "docker0", "docker12", "rce3", "tun0", "tun15", "resin-vpn", "lo", "resin-dns", "supervisor0",
		"balena-redsocks", "resin-redsocks", "br-0123456789ab", "br-ffffffffffff",
	} {
		if !isInternal(name) {
			t.Errorf("%s does not count as internal", name)
		}
	}
	for _, name := range []string{
		"", "eth0", "wlan0", "enp3s0", "wwan0", "usb0", "br0", "br-", "br-0123456789a", "br-0123456789abc", "br-0123456789aB", "br-0123456789ag",
		"balena", "docker", "tun", "tun0a", "tuna0", "xtun0", "docker0.1", "lo0", "lo:1", "supervisor1", "supervisor0x", "resin-vpn0", "resin-dnsx",
	} {
		if isInternal(name) {
			t.Errorf("%s counts as internal", name)
		}
	}
}

func TestReachable(t *testing.T) {
	var all []net.IP
	for _, text := range []string{"192.0.2.7", "169.254.3.4", "fe80::1", "2001:db8::7", "fd00::9"} {
		all = append(all, net.ParseIP(text))
	}
	want := []string{"192.0.2.7", "169.254.3.4", "2001:db8::7", "fd00::9"}
	if got := reachable(all); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// netDevice makes the files of /sys/class/net for one interface, except those with an empty text.
func netDevice(t *testing.T, dir, name, kind, address string, master bool) {
	t.Helper()
	sub := filepath.Join(dir, name)
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"type": kind, "address": address} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(sub, file), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if master {
		if err := os.Symlink("../br0", filepath.Join(sub, "master")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadMACs(t *testing.T) {
	dir := t.TempDir()
	if _, err := readMACs(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Fatalf("missing directory: got %v", err)
	}
	netDevice(t, dir, "eth0", "1", "02:00:00:00:00:0a", false)
	netDevice(t, dir, "eth1", "1", "02:00:00:00:00:0b", true)     // part of a bridge
	netDevice(t, dir, "eth2", "1", "02:00:00:00:00:0a", false)    // the same once more
	netDevice(t, dir, "lo", "772", "00:00:00:00:00:00", false)    // internal by name
	netDevice(t, dir, "ppp0", "512", "02:00:00:00:00:0d", false)  // not Ethernet
	netDevice(t, dir, "docker0", "1", "02:00:00:00:00:0e", false) // internal by name
	netDevice(t, dir, "broken0", "1", "", false)
	netDevice(t, dir, "broken1", "", "02:00:00:00:00:0f", false)
	netDevice(t, dir, "wlan0", "1", "02:00:00:00:00:0c", false)
	if err := os.WriteFile(filepath.Join(dir, "bonding_masters"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"02:00:00:00:00:0A", "02:00:00:00:00:0C"}
	if got, err := readMACs(dir); err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, %v, want %v", got, err, want)
	}
}
