package host_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// knocks counts the connections over which nothing was sent: those of the check of the way to the
// cloud.
type knocks struct {
	net.Listener
	mu    sync.Mutex
	count int
}

func (k *knocks) Accept() (net.Conn, error) {
	conn, err := k.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &knock{Conn: conn, of: k}, nil
}

func (k *knocks) heard() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count
}

type knock struct {
	net.Conn
	of    *knocks
	spoke bool
}

func (c *knock) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.spoke = c.spoke || n > 0; err != nil && !c.spoke {
		c.of.mu.Lock()
		c.of.count++
		c.of.mu.Unlock()
		c.spoke = true
	}
	return n, err
}

// interval is longer than the time between two tries (docs/spec/cloud.md 9.2).
const interval = 11 * time.Second

// watched is a device of a cloud that is behind a link.
type watched struct {
	*host
	*outside
	knocks *knocks
}

func (w *watched) cut() { w.ip("link", "set", w.link, "down") }

func (w *watched) mend() {
	w.ip("link", "set", w.link, "up")
	w.ip("route", "add", "default", "via", proxyAddr)
}

// healthy is what the health check says.
func (w *watched) healthy() bool {
	w.host.t.Helper()
	return w.Get("/v1/healthy").Status == http.StatusOK
}

// becomes waits for the health check to say so.
func (w *watched) becomes(what string, healthy bool) {
	w.host.t.Helper()
	harness.Until(w.host.t, harness.Soon, what, func() error {
		if w.healthy() != healthy {
			return errNotYet
		}
		return nil
	})
}

// quiet fails the test when a try is made, or the device found unhealthy, during more than the time
// between two tries.
func (w *watched) quiet(what string) {
	w.host.t.Helper()
	before := w.knocks.heard()
	harness.Throughout(w.host.t, interval, what, func() error {
		if n := w.knocks.heard(); n != before {
			return fmt.Errorf("%d tries", n-before)
		}
		if !w.healthy() {
			return errors.New("unhealthy")
		}
		return nil
	})
}

// tried waits until one more try was made.
func (w *watched) tried(what string) {
	w.host.t.Helper()
	before := w.knocks.heard()
	harness.Until(w.host.t, harness.Soon, what, func() error {
		if w.knocks.heard() == before {
			return errNotYet
		}
		return nil
	})
}

// The check of the way to the cloud, with the link cut and restored. docs/spec/cloud.md 9.2 and
// 10: 98; docs/spec/device-api.md 2.3, 2.9 and 4: 6, 147. The variable that is the same switch: test/poll.
func TestConnectivity(t *testing.T) {
	o := newOutside(t)
	k := &knocks{Listener: o.listen(farAddr + ":9000")}
	cloud := &fakecloud.Cloud{Origin: "http://" + farAddr + ":9000"}
	server := &http.Server{Handler: cloud}
	go server.Serve(k)
	t.Cleanup(func() { server.Close() })
	h := newHost(t, harness.Setup{Cloud: cloud, Config: map[string]any{"appUpdatePollInterval": 900000}})
	w := &watched{h, o, k}
	led := h.Path("led")
	if err := os.WriteFile(led, []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	told := func(connected bool) (n int) {
		for _, line := range h.LogLines("connectivity of the cloud API") {
			if line["connected"] == connected {
				n++
			}
		}
		return n
	}
	blinks := func(on bool) {
		t.Helper()
		harness.Until(t, harness.Soon, fmt.Sprintf("LED blinks: %v", on), func() error {
			for range 100 { // longer than the pause of the pattern
				if (h.ReadFile("led") == "1") == on {
					if on {
						return nil
					}
				} else if !on {
					return errNotYet
				}
				time.Sleep(15 * time.Millisecond)
			}
			if on {
				return errNotYet
			}
			return nil
		})
	}

	w.becomes("the cloud to be reached", true)
	if told(true) != 1 || told(false) != 0 {
		t.Errorf("told connected %d times, lost %d times", told(true), told(false))
	}

	w.cut()
	w.becomes("the loss", false)
	blinks(true)
	h.Post("/v1/blink", nil).Want(t, 200, "OK") // must not end the pattern of the loss
	if code, _, _ := h.Run("healthcheck"); code != 1 || told(false) != 1 {
		t.Errorf("healthcheck %d, told lost %d times", code, told(false))
	}
	w.mend()
	w.becomes("the recovery", true)
	if told(true) != 2 {
		t.Errorf("told connected %d times", told(true))
	}

	if status := h.CallAs("", http.MethodDelete, "/v1/tcp-ping", nil).Status; status != 401 {
		t.Errorf("without a key: %d", status)
	}

	// The VPN, with the link cut: no try is made, and the device counts as connected.
	active := h.Path("root/run/openvpn/vpn_status/active")
	h.WriteFile("root/run/openvpn/vpn_status/active", "")
	blinks(false)
	w.cut()
	w.quiet("while the VPN is up")
	if err := os.Remove(active); err != nil {
		t.Fatal(err)
	}
	w.becomes("the loss of the VPN", false)
	blinks(true)
	h.Call(harness.Request{Method: http.MethodDelete, Path: "/v1/tcp-ping"}).Want(t, 204, "")
	w.becomes("the check to be off", true)
	blinks(false)
	w.mend()
	h.Post("/v1/blink", nil).Want(t, 200, "OK")
	blinks(true)
	w.quiet("while the check is off")
	blinks(false) // 15 s have passed
	h.Post("/v1/tcp-ping", nil).Want(t, 204, "")
	w.tried("the check to be on")
}
