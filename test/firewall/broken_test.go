package firewall_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// device-api.md 1.2, message of cloud.md 5.5: a host without iptables. It is said once, the API runs, and
// a mode has no effect and is not said to have one.
func TestHostWithoutFirewall(t *testing.T) {
	lan := newNeighbour(t, "lan0", 1)
	d := &device{harness.NewSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}}), t}
	d.Start()
	lan.reaches(d.Port, "tcp", true)
	d.set(vars{modeName: "on", "RESIN_SUPERVISOR_DELTA": "1"})
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_DELTA":"1"}`, 1)
	d.WaitLogged(notSet, 1)
	for _, text := range d.DeviceLog() {
		if strings.Contains(text, "FIREWALL") {
			t.Errorf("said %q", text)
		}
	}
	d.told(1)
}

// told waits until the log says so many times that the firewall is not set.
func (d *device) told(times int) {
	d.t.Helper()
	harness.Until(d.t, harness.Soon, fmt.Sprintf("%d failures told of", times), func() error {
		if n := len(d.LogLines("the host's firewall is not set")); n != times {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
}

// stage lets a script of the shell stand for iptables and its kin on the device; the real one is $real.
// The script knows by $name which it is.
func (d *device) stage(script string) {
	d.t.Helper()
	const kin = "usr/sbin/xtables-nft-multi"
	real := d.Path("root/run/xtables")
	err := errors.Join(os.WriteFile(real, nil, 0o755), syscall.Mount("/"+kin, real, "", syscall.MS_BIND, ""))
	d.t.Cleanup(func() { syscall.Unmount(real, syscall.MNT_DETACH) })
	d.WriteFile("script", "#!/bin/bash\nname=${0##*/}\nreal=/run/xtables\n"+script+"\n")
	over := d.Path("root", kin)
	err = errors.Join(err, os.Chmod(d.Path("script"), 0o755), syscall.Mount(d.Path("script"), over, "", syscall.MS_BIND, ""))
	d.t.Cleanup(func() { syscall.Unmount(over, syscall.MNT_DETACH) })
	if err != nil {
		d.t.Fatal(err)
	}
}

// One family of addresses that cannot be filtered does not keep the other from it, and nothing is tried
// again until something changes.
func TestOneFamilyOnly(t *testing.T) {
	lan := newNeighbour(t, "lan0", 1)
	for i, family := range families {
		d := newDevice(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
		d.stage(`echo $name >>/run/calls; case $name in ` + family + `*) echo no such table >&2; exit 3 ;; esac; exec -a $name $real "$@"`)
		d.Start()
		d.told(1)
		for at, addr := range lan.addrs {
			lan.reachesAt(fmt.Sprintf("%s:%d", bracket(addr), d.Port), "tcp", at == i)
		}
		if text := fmt.Sprint(d.LogLines("the host's firewall is not set")[0]["error"]); !strings.Contains(text, family+"-restore: exit status 3: no such table") {
			t.Error(text)
		}
		if i == 0 {
			calls := d.ReadFile("root/run/calls")
			d.set(vars{"RESIN_SUPERVISOR_DELTA": "1"})
			d.WaitLogged(`Applied configuration change {"SUPERVISOR_DELTA":"1"}`, 1)
			d.WaitLogged(notSet, 1)
			if now := d.ReadFile("root/run/calls"); now != calls {
				t.Errorf("tried again without a change:\n%s", now)
			}
		}
		d.set(vars{modeName: "on"})
		d.told(2)
		d.Kill()
		for _, family := range families {
			harness.TryTool(family, "-F")
		}
	}
}

func bracket(addr string) string {
	if strings.Contains(addr, ":") {
		return "[" + addr + "]"
	}
	return addr
}

// device-api.md 1.2, 2018: a kernel that cannot refuse with an answer drops.
func TestKernelWithoutReject(t *testing.T) {
	d := newDevice(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	d.stage(`case $name in *-restore)
	rules=$(cat)
	case $rules in *REJECT*) echo "No chain/target/match by that name." >&2; exit 1 ;; esac
	exec -a $name $real "$@" <<<"$rules" ;;
esac
exec -a $name $real "$@"`)
	d.Start()
	for _, family := range families {
		harness.Until(t, harness.Soon, "the rules of "+family, func() error {
			if !strings.Contains(rules(t, family), fmt.Sprintf("--dport %d -j DROP\n", d.Port)) {
				return errors.New("not dropped")
			}
			return nil
		})
	}
	d.Get("/ping").Want(t, http.StatusOK, "OK")
	d.told(0)
}

// A host whose iptables are of the older kind, as those of balenaOS are.
func TestLegacyTables(t *testing.T) {
	lan := newNeighbour(t, "lan0", 1)
	serve(t, 9999)
	d := newDevice(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	d.stage(`exec -a $name /usr/sbin/xtables-legacy-multi "$@"`)
	t.Cleanup(func() {
		for _, family := range families {
			harness.TryTool(family+"-legacy", "-F")
			harness.TryTool(family+"-legacy", "-X")
		}
	})
	d.Start()
	lan.reaches(d.Port, "tcp", false)
	d.set(vars{modeName: "on"})
	lan.reaches(9999, "tcp", false)
	d.Restart()
	d.set(nil)
	lan.reaches(9999, "tcp", true)
	lan.reaches(d.Port, "tcp", false)
	for _, family := range families {
		if got := input(t, family+"-legacy"); len(got) != 1 || got[0] != "-j BALENA-FIREWALL" {
			t.Errorf("%s: %q", family, got)
		}
		if got := input(t, family); len(got) != 0 {
			t.Errorf("%s of the other kind: %q", family, got)
		}
	}
	d.told(0)
}
