package hostos

import (
	"net"
	"syscall"
	"testing"
)

// Any journal entry yields a line with a cursor that is not longer than the entry.
func FuzzParseEntry(f *testing.F) {
	for _, message := range []string{`"text"`, `[1,2,255]`, `["a","b"]`, `null`, `"\ud800"`} {
		f.Add([]byte(`{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"17","PRIORITY":"3","MESSAGE":` + message + `}`))
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		l, ok := parseEntry(entry)
		if ok && (l.Cursor == "" || len(l.Text) > 3*len(entry)) { // a byte that is not UTF-8 becomes three
			t.Fatalf("got %+v", l)
		}
	})
}

// Any netlink answer yields addresses or an error.
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
