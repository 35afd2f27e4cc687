package cloud

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/delta"
)

// Any answer of a server leads to a bounded answer, a redirect or an error.
func FuzzAnswer(f *testing.F) {
	const head = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\n"
	f.Add([]byte(head + "Content-Length: 2\r\n\r\n{}"))
	f.Add([]byte(head + "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: //elsewhere/x?y=z\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 429 x\r\nRetry-After: 7\r\n\r\nuntil the end"))
	base, _ := url.Parse("https://api.example.com/base")
	f.Fuzz(func(t *testing.T, said []byte) {
		c := &Client{base: base}
		for _, follow := range []bool{false, true} {
			a, to, _, err := c.receive(&trackedReader{Reader: bytes.NewReader(said)}, &call{follow: follow})
			if to != nil && err == nil && (!follow || to.Scheme != "https" || to.Host == "") {
				t.Fatalf("%q redirects to %s", said, to)
			}
			if len(a.body) > maxAnswer && err == nil {
				t.Fatalf("an answer of %d bytes", len(a.body))
			}
		}
	})
}

// Retry-After is never negative, and a number of seconds is used unchanged.
func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add("-1")
	f.Add("99999999999")
	f.Fuzz(func(t *testing.T, header string) {
		if d := retryAfter(header, time.Unix(1_700_000_000, 0)); d < 0 {
			t.Fatalf("%q is %v", header, d)
		}
	})
}

// Any multicast DNS answer yields only addresses that can be dialled.
func FuzzDNSAddresses(f *testing.F) {
	question, err := dnsQuestion("box.local")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(question, "box.local")
	f.Add([]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x03box\x05local\x00\x00\x01\x80\x01\x00\x00\x00\x78\x00\x04\xc0\x00\x02\x07"), "box.local.")
	f.Add([]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c\xc0\x0c"), "a")
	f.Fuzz(func(t *testing.T, message []byte, host string) {
		for _, ip := range dnsAddresses(message, host) {
			if !ip.IsValid() || ip.Zone() != "" || strings.Contains(ip.String(), "%") {
				t.Fatalf("%q gives %v", message, ip)
			}
		}
	})
}

// Any answer of the delta server yields a name or an error, never neither.
func FuzzDeltaImage(f *testing.F) {
	f.Add(200, []byte(`{"name":"registry.example.com/delta@sha256:77aa"}`))
	f.Add(200, []byte(`{"name":7}`))
	f.Add(200, []byte(`{}`))
	f.Add(404, []byte(`not found`))
	f.Add(504, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		image, err := deltaImage(status, body)
		if (image == "") != (err != nil) {
			t.Fatalf("%d %q: image %q, error %v", status, body, image, err)
		}
		if status == 401 && errors.Is(err, delta.ErrNone) {
			t.Fatalf("a refused token counts as no delta")
		}
	})
}

// A registry token is not empty and comes from an answer with status 200.
func FuzzRegistryToken(f *testing.F) {
	f.Add(200, []byte(`{"token":"abc"}`))
	f.Add(200, []byte(`{"token":""}`))
	f.Add(200, []byte(`{"token":["abc"]}`))
	f.Add(401, []byte(`{"token":"abc"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		text, err := registryToken(status, body)
		if (text == "") != (err != nil) || err == nil && status != 200 {
			t.Fatalf("%d %q: token %q, error %v", status, body, text, err)
		}
	})
}
