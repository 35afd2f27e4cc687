package cloud

import (
	"net/netip"
	"testing"
)

// answerTo returns the start of an answer to a query from dnsQuestion. The records follow it.
func answerTo(t testing.TB, host string, records ...[]byte) []byte {
	m, err := dnsQuestion(host)
	if err != nil {
		t.Fatal(err)
	}
	m[2], m[7] = 0x84, byte(len(records))
	for _, r := range records {
		m = append(m, r...)
	}
	return m
}

// record returns a record whose name is a pointer to the name of the question.
func record(kind byte, ip ...byte) []byte {
	return append([]byte{0xc0, 12, 0, kind, 0x80, 1, 0, 0, 0, 120, 0, byte(len(ip))}, ip...)
}

func TestAddressesOfAnswers(t *testing.T) {
	six := netip.MustParseAddr("fd00::7").As16()
	linkLocal := netip.MustParseAddr("fe80::7").As16()
	m := answerTo(t, "Api.Test.local", record(28, linkLocal[:]...), record(28, six[:]...), record(33, 1, 2), record(1, 10, 0, 0, 7))
	if got := dnsAddresses(m, "api.test.local."); len(got) != 2 || got[0].String() != "10.0.0.7" || got[1].String() != "fd00::7" {
		t.Errorf("addresses %v", got)
	}
	if got := dnsAddresses(m, "other.local"); len(got) != 0 {
		t.Errorf("addresses of another name: %v", got)
	}
	for i := range m {
		dnsAddresses(m[:i], "api.test.local") // must not panic
	}
	if _, err := dnsQuestion("a..local"); err == nil {
		t.Error("an empty label was accepted")
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add(answerTo(f, "a.local", record(1, 10, 0, 0, 7)))
	f.Add([]byte{0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12})
	f.Fuzz(func(t *testing.T, m []byte) {
		for _, ip := range dnsAddresses(m, "a.local") {
			if !ip.IsValid() {
				t.Fatalf("address %v", ip)
			}
		}
	})
}
