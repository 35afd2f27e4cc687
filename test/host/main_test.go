// Package host_test proves what the agent does on the host around the apps: proxy and name of the
// host with the real redsocks, proxies and message bus, the check of the way to the cloud in network
// namespaces, and the light of the board.
package host_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const path = "/v1/device/host-config"

// host is a device whose supervisor runs.
type host struct {
	*harness.Supervisor
	t testing.TB
}

func newHost(t testing.TB, setup harness.Setup) *host {
	t.Helper()
	h := &host{harness.NewSupervisor(t, setup), t}
	// redsocks is another user, who has to get to its file.
	if err := os.Chmod(filepath.Dir(h.Dir), 0o755); err != nil {
		t.Fatal(err)
	}
	h.Start()
	h.WaitListed()
	return h
}

// patch changes the settings of the host by a JSON body.
func (h *host) patch(body string) harness.Answer {
	h.t.Helper()
	return h.Call(harness.Request{Method: http.MethodPatch, Path: path, Body: body})
}

// set is a patch that has to succeed.
func (h *host) set(network string) {
	h.t.Helper()
	h.patch(`{"network":`+network+`}`).Want(h.t, 200, "OK")
}

// is fails the test unless GET answers this.
func (h *host) is(network string) {
	h.t.Helper()
	h.Get(path).Want(h.t, 200, `{"network":`+network+`}`)
}

func (h *host) conf() string    { return h.ReadFile("boot/system-proxy/redsocks.conf") }
func (h *host) noProxy() string { return h.ReadFile("boot/system-proxy/no_proxy") }

// name is hostname in config.json.
func (h *host) name() string {
	name, _ := h.ReadConfig()["hostname"].(string)
	return name
}

// files are all of the files that host-config may write.
func (h *host) files() string {
	return h.conf() + "\x00" + h.noProxy() + "\x00" + h.ReadFile("boot/config.json")
}

// logged waits for a log line with this message.
func (h *host) logged(message string, count int) {
	h.t.Helper()
	harness.Until(h.t, harness.Soon, "log line: "+message, func() error {
		if n := len(h.LogLines(message)); n != count {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
}

// mount lays a file system over a directory until the test ends.
func mount(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
}

var errNotYet = errors.New("not yet")
