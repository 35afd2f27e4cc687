package hostos

import (
	"net"
	"syscall"
	"testing"
)

// Whatever a netlink answer holds, it reads as addresses or an error.
func FuzzParseAddresses(f *testing.F) {
	if answer, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_UNSPEC); err == nil {
		f.Add(answer)
	}
	f.Add([]byte{})
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, answer []byte) {
		found, err := parseAddresses(answer)
		if err != nil {
			return
		}
		for index, ips := range found {
			for _, text := range reachable(ips) {
				if net.ParseIP(text) == nil {
					t.Fatalf("interface %d has the address %q", index, text)
				}
			}
		}
	})
}
