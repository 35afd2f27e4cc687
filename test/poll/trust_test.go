package poll_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// Issue point 9; docs/spec/cloud.md 0.2: an authority is trusted that a file, the environment or config.json
// names, and nobody gets a key without being trusted.
func TestTrust(t *testing.T) {
	for name, means := range map[string]func(ca []byte) (env map[string]string, config map[string]any){
		"nobody": func([]byte) (map[string]string, map[string]any) { return nil, nil },
		"environment": func(ca []byte) (map[string]string, map[string]any) {
			return map[string]string{"BALENA_ROOT_CA": strings.TrimSpace(string(ca))}, nil
		},
		"config.json": func(ca []byte) (map[string]string, map[string]any) {
			return nil, map[string]any{"balenaRootCA": base64.StdEncoding.EncodeToString(ca)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := &fakecloud.Cloud{}
			_, ca := cloud.StartTLS(t)
			env, config := means(ca)
			all := map[string]string{"NODE_EXTRA_CA_CERTS": ""}
			for k, v := range env {
				all[k] = v
			}
			s := harness.StartSupervisor(t, harness.Setup{Cloud: cloud, Env: all, Config: config, WithoutContainers: true})
			if name != "nobody" {
				polls(t, cloud, 1)
				return
			}
			harness.Until(t, harness.Soon, "the reason", func() error {
				if !strings.Contains(s.Log(), "x509: certificate signed by unknown authority") {
					return errors.New("the log does not say it")
				}
				return nil
			})
			if n := len(cloud.Calls()); n != 0 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// Issue point 9: a certificate that is not valid yet by the clock of the host is tried again until it is.
func TestClockIsWrongAtBoot(t *testing.T) {
	cloud := &fakecloud.Cloud{NotBefore: time.Now().Add(24 * time.Hour)}
	s := harness.StartSupervisor(t, harness.Setup{Cloud: cloud, Unprovisioned: true, Config: often})
	harness.Until(t, harness.Soon, "the reason", func() error {
		if !strings.Contains(s.Log(), "certificate has expired or is not yet valid") {
			return errors.New("the log does not say it")
		}
		return nil
	})
	if n := len(s.LogLines("cannot register the device with the cloud, will retry")); n != 1 {
		t.Errorf("the same failure is logged %d times", n)
	}
	s.WaitListed() // everything else works meanwhile
	cloud.NotBefore = time.Time{}
	ca := cloud.Renew(t)
	s.Stop()
	if err := os.WriteFile(s.CAPath(), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Start()
	polls(t, cloud, 1)
}

func joinedTo(t *testing.T, cloud *fakecloud.Cloud) (*harness.Supervisor, *fakecloud.Cloud) {
	return harness.NewManaged(t, harness.Setup{Cloud: cloud, Config: often})
}

// docs/spec/cloud.md 0.2: a host of the domain .local is found by multicast DNS, here by a responder of the
// test on the loopback interface of the test's own network.
func TestLocalName(t *testing.T) {
	const host = "api.test-cloud.local"
	asked := answerMulticast(t, host, netip.MustParseAddr("127.0.0.1"))
	cloud := &fakecloud.Cloud{Names: []string{host}}
	cloud.StartTLS(t, host)
	s, _ := joinedTo(t, cloud)
	s.Start()
	if all := polls(t, cloud, 1); asked.Load() == 0 {
		t.Errorf("%d polls without a question for the name", len(all))
	}
	harness.Until(t, harness.Soon, "health, which needs the name too", func() error {
		if a := s.Get("/v1/healthy"); a.Status != http.StatusOK {
			return errors.New(a.Body)
		}
		return nil
	})
}

// answerMulticast answers questions for a name and counts them.
func answerMulticast(t *testing.T, host string, ip netip.Addr) *atomic.Int32 {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenMulticastUDP("udp4", lo, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	var asked atomic.Int32
	wire := ""
	for label := range strings.SplitSeq(host, ".") {
		wire += string(rune(len(label))) + label
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if !strings.Contains(string(buf[:n]), wire) {
				continue
			}
			asked.Add(1)
			answer := []byte{0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0}
			answer = append(append(answer, wire...), 0)
			answer = binary.BigEndian.AppendUint16(answer, 1)
			answer = binary.BigEndian.AppendUint16(answer, 0x8001)
			answer = binary.BigEndian.AppendUint32(answer, 120)
			answer = binary.BigEndian.AppendUint16(answer, 4)
			answer = append(answer, ip.AsSlice()...)
			socket.WriteToUDPAddrPort(answer, from)
		}
	}()
	return &asked
}
