package hostos

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestNetworkFollowsTheKernel runs itself again in its own network and mount namespace, where it makes interfaces. It
// needs root, unshare, mount and ip.
func TestNetworkFollowsTheKernel(t *testing.T) {
	if os.Getenv("HOSTOS_TEST_INSIDE") == "" {
		if os.Getuid() != 0 {
			t.Fatal("this test makes network interfaces in a namespace of its own: run it as root")
		}
		cmd := exec.Command("unshare", "--net", "--mount", os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "HOSTOS_TEST_INSIDE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("inside unshare: %v\n%s", err, out)
		}
		return
	}
	run(t, "mount -t sysfs sysfs /sys") // that of the new network namespace
	run(t, "ip link set lo up")
	run(t, "ip link add eth7 address 02:00:00:00:00:0a type veth peer name tun7")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	network := WatchNetwork(ctx, "/sys/class/net", zerolog.Nop())
	expect := func(ips, macs string) {
		t.Helper()
		wantIPs, wantMACs := strings.Fields(ips), strings.Fields(macs)
		for {
			gotIPs, gotMACs := network.Addresses()
			if slices.Equal(gotIPs, wantIPs) && slices.Equal(gotMACs, wantMACs) {
				return
			}
			select {
			case <-network.Changes():
			case <-time.After(10 * time.Second):
				t.Fatalf("got %v %v, want %v %v", gotIPs, gotMACs, wantIPs, wantMACs)
			}
		}
	}
	expect("", "02:00:00:00:00:0A")
	run(t, "ip addr add 192.0.2.7/24 dev eth7")
	run(t, "ip addr add 192.0.2.8/24 dev tun7")
	run(t, "ip link set eth7 up")
	run(t, "ip link set tun7 up")
	expect("192.0.2.7", "02:00:00:00:00:0A")
	run(t, "ip addr add 2001:db8::7/64 dev eth7 nodad")
	expect("192.0.2.7 2001:db8::7", "02:00:00:00:00:0A")
	run(t, "ip link set tun7 down") // the link is lost, and with it all addresses
	expect("", "02:00:00:00:00:0A")
	run(t, "ip link set eth7 address 02:00:00:00:00:0b")
	expect("", "02:00:00:00:00:0B")
	run(t, "ip link del eth7")
	expect("", "")
}

func run(t *testing.T, line string) {
	t.Helper()
	args := strings.Fields(line)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}
