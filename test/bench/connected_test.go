package bench

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// connected measures what the cloud costs a device that has nothing to do, beside its polls every
// quarter of an hour and the metrics it may report every five minutes: wake-ups in between, with the
// VPN up and the log stream at rest, and the bytes of both over TLS, handshakes included. While the
// VPN is down the check of the way to the cloud comes on top: a connection every ten seconds.
func connected(b *testing.B, t *table) {
	engine := harness.SharedEngine(b)
	images := load(b, engine, residents)
	cloud := &fakecloud.Cloud{}
	cloud.StartTLS(b)
	line := newLine(b, strings.TrimPrefix(cloud.Origin, "https://"))
	s := harness.NewSupervisor(b, harness.Setup{Engine: engine, Cloud: cloud,
		Config: map[string]any{"appUpdatePollInterval": 900000, "apiEndpoint": "https://" + line.address}})
	s.WriteFile("root/run/openvpn/vpn_status/active", "")
	s.Assign(shop(images, "44444444444444444444444444444444", 4))
	s.Start()
	s.WaitSettled(5 * time.Minute)
	harness.Until(b, 3*time.Minute, "the log stream to rest", func() error {
		if streams := cloud.Streams(); len(streams) > 0 {
			if ended, _ := streams[len(streams)-1].Ended(); ended {
				return nil
			}
		}
		return errors.New("it is open")
	})
	idle(b, t, s, "connected")

	bytes := line.bytes.Load()
	polls := len(cloud.Calls(fakecloud.State))
	if a := s.Post("/v1/update", nil); a.Status != http.StatusNoContent {
		b.Fatalf("POST /v1/update: %d", a.Status)
	}
	settled(b, line, func() bool { return len(cloud.Calls(fakecloud.State)) > polls })
	poll := line.bytes.Load() - bytes
	bytes = line.bytes.Load()
	reports := len(cloud.Calls(fakecloud.Report))
	if a := s.Post("/v1/regenerate-api-key", nil); a.Status != http.StatusOK {
		b.Fatalf("regenerate the key: %d", a.Status)
	}
	settled(b, line, func() bool { return len(cloud.Calls(fakecloud.Report)) > reports })
	report := line.bytes.Load() - bytes
	s.Stop()
	t.note("a poll that finds nothing new, bytes both ways", fmt.Sprint(poll))
	t.note("a small report, bytes both ways", fmt.Sprint(report))
	t.note("an hour connected: 4 polls, at most 12 reports of metrics", fmt.Sprintf("%.1f KiB", float64(4*poll+12*report)/1024))
}

// settled waits until something was done and no connection is open any more.
func settled(b *testing.B, line *line, done func() bool) {
	b.Helper()
	harness.Until(b, time.Minute, "the end of a call", func() error {
		if !done() || line.open.Load() > 0 {
			return errors.New("not yet")
		}
		return nil
	})
}

// line counts the bytes that pass both ways to a server.
type line struct {
	address     string
	bytes, open atomic.Int64
}

func newLine(b *testing.B, upstream string) *line {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	n := &line{address: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				client.Close()
				continue
			}
			n.open.Add(1)
			go n.pass(server, client)
			go func() {
				n.pass(client, server)
				n.open.Add(-1)
			}()
		}
	}()
	return n
}

func (n *line) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 8<<10)
	for {
		count, err := from.Read(buf)
		n.bytes.Add(int64(count))
		if _, failed := to.Write(buf[:count]); failed != nil || err != nil {
			return
		}
	}
}
