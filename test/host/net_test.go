package host_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/test/harness"
)

// The device reaches everything over one link; proxies and servers are behind it.
const (
	deviceAddr = "10.77.0.2"
	proxyAddr  = "10.77.0.1"
	farAddr    = "198.51.100.1"
	otherAddr  = "198.51.100.2"
)

// outside is a network namespace at the other end of the device's link. The device's end is in the
// namespace that the tests run in.
type outside struct {
	t    *testing.T
	name string
	link string
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{t: t, name: fmt.Sprintf("outside-%d", os.Getpid()), link: "dev0"}
	o.ip("netns", "add", o.name)
	t.Cleanup(func() { harness.TryTool("ip", "netns", "del", o.name) })
	o.ip("link", "add", o.link, "type", "veth", "peer", "name", "out0", "netns", o.name)
	t.Cleanup(func() { harness.TryTool("ip", "link", "del", o.link) })
	o.ip("addr", "add", deviceAddr+"/24", "dev", o.link)
	o.ip("link", "set", o.link, "up")
	o.ip("-n", o.name, "link", "set", "lo", "up")
	o.ip("-n", o.name, "addr", "add", farAddr+"/32", "dev", "lo")
	o.ip("-n", o.name, "addr", "add", otherAddr+"/32", "dev", "lo")
	o.ip("-n", o.name, "addr", "add", proxyAddr+"/24", "dev", "out0")
	o.ip("-n", o.name, "link", "set", "out0", "up")
	o.ip("route", "add", "default", "via", proxyAddr)
	return o
}

func (o *outside) ip(args ...string) {
	o.t.Helper()
	harness.RunTool(o.t, "ip", args...)
}

// start starts a program out there.
func (o *outside) start(program string, args ...string) {
	o.t.Helper()
	harness.Start(o.t, exec.Command(harness.Tool(o.t, "ip"), append([]string{"netns", "exec", o.name, harness.Tool(o.t, program)}, args...)...))
}

// listen opens a socket out there. It belongs to that namespace for good, whoever uses it.
func (o *outside) listen(address string) net.Listener {
	o.t.Helper()
	// The thread comes back: programs that were started by it would end with it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back := o.enter("/proc/thread-self/ns/net", "/run/netns/"+o.name)
	listener, err := net.Listen("tcp4", address)
	back()
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { listener.Close() })
	return listener
}

// enter brings the thread from one network namespace into another, and back.
func (o *outside) enter(from, to string) (back func()) {
	o.t.Helper()
	here, errHere := os.Open(from)
	there, errThere := os.Open(to)
	if err := errors.Join(errHere, errThere); err != nil {
		o.t.Fatal(err)
	}
	into := func(space *os.File) {
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			o.t.Fatal(err)
		}
		space.Close()
	}
	into(there)
	return func() { into(here) }
}

// serve answers every request out there with the address it came from.
func (o *outside) serve(address string) {
	o.t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host)
	})}
	go server.Serve(o.listen(address))
	o.t.Cleanup(func() { server.Close() })
}

// seenAs is the address under which a server sees the device.
func seenAs(address string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}
	res, err := client.Get("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("answer %d %s", res.StatusCode, body)
	}
	return string(body), err
}

// seen waits until a server sees the device as it should.
func seen(t *testing.T, what, address, as string) {
	t.Helper()
	harness.Until(t, harness.Soon, what, func() error {
		got, err := seenAs(address)
		if err == nil && got != as {
			err = fmt.Errorf("%s sees the device as %s, not %s", address, got, as)
		}
		return err
	})
}
