package cloud

import (
	"context"
	"strings"
	"testing"
	"time"
)

// A head of up to 16 kB, as proxies make them, is accepted. No error quotes a head that is too long or broken.
func TestHeads(t *testing.T) {
	const secret = "Set-Cookie: session=secret\r\n"
	f := func(name, answer, want string) {
		t.Helper()
		base, _ := serveOnce(t, answer)
		c, err := New(base, "x", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.do(context.Background(), call{path: "/", timeout: time.Minute, follow: true})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the head: %v", name, err)
		}
	}
	policy := func(n int) string { return secret + "Content-Security-Policy: " + strings.Repeat("p", n) + "\r\n" }
	const ok = "HTTP/1.1 200 OK\r\n"
	f("4 kB", ok+policy(4<<10)+"Content-Length: 2\r\n\r\n{}", "")
	f("15 kB", ok+policy(15<<10)+"Content-Length: 2\r\n\r\n{}", "")
	f("17 kB", ok+policy(17<<10)+"Content-Length: 2\r\n\r\n{}", "the head of the answer is longer than 16 kB")
	f("cut", ok+secret, "unexpected EOF")
	f("no status", "HTTP/1.1 secret\r\n"+secret+"\r\n", "the answer is not HTTP")
	f("no HTTP", "SSH-2.0-secret\r\n\r\n", "the answer is not HTTP")
	f("no field", ok+"secret secret\r\n\r\n", "the answer is not HTTP")
	f("bad length", ok+secret+"Content-Length: secret\r\n\r\n", "the answer is not HTTP")
	f("bad chunk", ok+secret+"Transfer-Encoding: chunked\r\n\r\nsecret\r\n", "the answer is not HTTP")
	f("bad trailer", ok+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nsecret secret\r\n\r\n", "the answer is not HTTP")
	f("bad location", "HTTP/1.1 302 Found\r\n"+secret+"Location: http://secret:secret/\r\n\r\n", "redirects")
	f("location of another kind", "HTTP/1.1 302 Found\r\n"+secret+"Location: mailto:secret\r\n\r\n", "redirects")
}
