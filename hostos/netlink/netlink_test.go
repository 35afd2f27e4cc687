package netlink

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// inNamespace runs the calling test again in its own network namespace, and reports whether the caller is already
// inside. It needs root, unshare and ip.
func inNamespace(t *testing.T) bool {
	if os.Getenv("NETLINK_TEST_INSIDE") == t.Name() {
		return true
	}
	if os.Getuid() != 0 {
		t.Fatal("this test makes network interfaces in a namespace of its own: run it as root")
	}
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "NETLINK_TEST_INSIDE="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("inside unshare --net: %v\n%s", err, out)
	}
	return false
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// watch starts Watch, waits until it has subscribed and returns the later changes.
func watch(t *testing.T) (changes <-chan struct{}, end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	got, ended := make(chan struct{}, 1000), make(chan error, 1)
	go func() { ended <- Watch(ctx, func() { got <- struct{}{} }) }()
	wait(t, got)
	return got, func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			return fmt.Errorf("watch does not end with its context")
		}
	}
}

func wait(t *testing.T, changes <-chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(10 * time.Second):
		t.Fatal("no change within 10 s")
	}
}

func TestWatchSeesLinksAndAddresses(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	// otherwise the kernel gives eth7 an address later, which would look like the next change
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	changes, end := watch(t)
	for _, args := range []string{
		"link add eth7 type veth peer name peer7",
		"link set eth7 up",
		"addr add 192.0.2.7/24 dev eth7",
		"addr add 2001:db8::7/64 dev eth7 nodad",
		"addr del 192.0.2.7/24 dev eth7",
		"link del eth7",
	} {
		ip(t, args)
		t.Log(args)
		wait(t, changes)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

// addAddresses makes n changes as fast as possible.
func addAddresses(t *testing.T, n int) {
	t.Helper()
	var batch strings.Builder
	for i := range n {
		fmt.Fprintf(&batch, "addr add 10.%d.%d.1/32 dev eth7\n", i/250, i%250)
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(batch.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestWatchCoalesces(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	changes, end := watch(t)
	ip(t, "link add eth7 type veth peer name peer7")
	wait(t, changes)
	started := time.Now()
	addAddresses(t, 1000)
	wait(t, changes)
	if n, most := len(changes), int(time.Since(started)/batchDelay)+1; n > most {
		t.Fatalf("%d calls for one burst, want at most %d", n, most)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func TestWatchSurvivesOverflow(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link add eth7 type veth peer name peer7")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	called, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- Watch(ctx, func() { called <- struct{}{} }) }()
	// nobody reads while the first call blocks, so the socket buffer overflows
	addAddresses(t, 4000)
	wait(t, called)
	wait(t, called)
	ip(t, "link del eth7")
	wait(t, called)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestWatchEndsWithoutCallingAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var calls atomic.Int32
	err := Watch(ctx, func() {
		calls.Add(1)
		cancel()
	})
	if err != nil || calls.Load() != 1 {
		t.Fatalf("got %v after %d calls", err, calls.Load())
	}
}
