package hostos

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docs/spec/host.md 6: the rules, in their order.
func TestFirewallRules(t *testing.T) {
	const (
		begin = "*filter\n:BALENA-FIREWALL - [0:0]\n-F BALENA-FIREWALL\n" +
			"-A BALENA-FIREWALL -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n" +
			"-A BALENA-FIREWALL -m addrtype --src-type LOCAL -j ACCEPT\n"
		closed = "-A BALENA-FIREWALL -i resin-vpn -p tcp --dport PORT -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i tun0 -p tcp --dport PORT -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i docker0 -p tcp --dport PORT -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i lo -p tcp --dport PORT -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i supervisor0 -p tcp --dport PORT -j ACCEPT\n" +
			"-A BALENA-FIREWALL -p tcp --dport PORT -j REJECT\n"
		open  = "-A BALENA-FIREWALL -p tcp --dport PORT -j ACCEPT\n"
		hosts = "-A BALENA-FIREWALL -p tcp --dport 22222 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -p tcp --dport 2375 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -m addrtype --dst-type MULTICAST -j ACCEPT\n"
		names = "-A BALENA-FIREWALL -i balena0 -p udp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i balena0 -p tcp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i br+ -p udp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i br+ -p tcp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i docker0 -p udp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i docker0 -p tcp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i supervisor0 -p udp --dport 53 -j ACCEPT\n" +
			"-A BALENA-FIREWALL -i supervisor0 -p tcp --dport 53 -j ACCEPT\n"
		four = "-A BALENA-FIREWALL -p icmp -j ACCEPT\n" + names +
			"-A BALENA-FIREWALL -p udp --sport 67 --dport 68 -j ACCEPT\n"
		six = "-A BALENA-FIREWALL -p ipv6-icmp -j ACCEPT\n" + names +
			"-A BALENA-FIREWALL -s fe80::/10 -p udp --dport 546 -j ACCEPT\n"
		off = "-A BALENA-FIREWALL -j RETURN\n"
		on  = "-A BALENA-FIREWALL -j REJECT\n"
	)
	f := func(w Firewall, port, api, end string) {
		t.Helper()
		for v6, family := range map[bool]string{false: four, true: six} {
			want := strings.ReplaceAll(begin+api+hosts+family+end, "PORT", port)
			if got := w.rules(v6); got != want {
				t.Errorf("%+v, IPv6 %v:\n%s\nwant\n%s", w, v6, got, want)
			}
			// The rules are written to a pipe before anybody reads it, so they must fit into a page.
			if len(want)+200 > os.Getpagesize() {
				t.Errorf("%d bytes of rules", len(want))
			}
		}
	}
	f(Firewall{Port: 48484}, "48484", closed, off)
	f(Firewall{Port: 48484, Strict: true}, "48484", closed, on)
	f(Firewall{Port: 48484, Open: true}, "48484", open, off)
	f(Firewall{Port: 1, Open: true, Strict: true}, "1", open, on)
	f(Firewall{Port: 65535}, "65535", closed, off)
}

func TestFirewallOfAHostWithoutOne(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to look into another root")
	}
	root := t.TempDir()
	if HasFirewall(root) {
		t.Error("HasFirewall is true on a host without iptables")
	}
	if err := (Firewall{Port: 1}).Apply(root); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(root, "sbin/iptables-restore")); err != nil {
		t.Fatal(err)
	}
	if !HasFirewall(root) {
		t.Error("the link of the host was followed")
	}
}
