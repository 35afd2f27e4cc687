package cloud

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/delta"
)

// cloud.md A.1, engine.md 85: what each answer of the delta server means.
func TestDeltaImage(t *testing.T) {
	anyError := errors.New("another error")
	f := func(status int, body, want string, wantErr error) {
		t.Helper()
		got, err := deltaImage(status, []byte(body))
		if got != want {
			t.Errorf("%d %s gave image %q, want %q", status, body, got, want)
		}
		special := errors.Is(err, delta.ErrNone) || errors.Is(err, delta.ErrProcessing)
		if wantErr == anyError && (err == nil || special) || wantErr != anyError && !errors.Is(err, wantErr) {
			t.Errorf("%d %s gave error %v, want %v", status, body, err, wantErr)
		}
	}
	f(200, `{"name":"registry.example/v2/a:delta-b"}`, "registry.example/v2/a:delta-b", nil)
	f(200, `{}`, "", anyError)
	f(200, `<html>`, "", anyError)
	f(502, ``, "", delta.ErrProcessing)
	f(504, ``, "", delta.ErrProcessing)
	f(404, ``, "", delta.ErrNone)
	f(400, ``, "", delta.ErrNone)
	f(401, ``, "", anyError)
	f(500, ``, "", anyError)
	f(302, ``, "", anyError)
}

// engine.md 8.5: the token is for the registry and repository of the new image, and for the
// repository of the old one.
func TestTokenScope(t *testing.T) {
	got, err := tokenScope("registry.example/v2/old@sha256:"+strings.Repeat("a", 64), "other.example:5000/v2/new:1")
	if err != nil {
		t.Fatal(err)
	}
	want := "scope=repository%3Av2%2Fnew%3Apull&scope=repository%3Av2%2Fold%3Apull&service=other.example%3A5000"
	if got.Encode() != want {
		t.Errorf("scope %s, want %s", got.Encode(), want)
	}
	if _, err := tokenScope("A B", "x"); err == nil {
		t.Error("an invalid image name was accepted")
	}
}

// engine.md 8.5: a token is reused for ten minutes.
func TestTokensAreKeptForTenMinutes(t *testing.T) {
	d := &Deltas{}
	now := time.Unix(1_000_000, 0)
	d.remember("a", token{"A", now})
	if got := d.freshToken("a", now.Add(tokenLife-time.Second)); got != "A" {
		t.Errorf("a fresh token reads %q", got)
	}
	if got := d.freshToken("a", now.Add(tokenLife)); got != "" {
		t.Errorf("an old token reads %q", got)
	}
	d.remember("b", token{"B", now.Add(tokenLife)})
	if len(d.tokens) != 1 {
		t.Errorf("%d tokens are kept, want the fresh one", len(d.tokens))
	}
	d.forget("b")
	if got := d.freshToken("b", now.Add(tokenLife)); got != "" {
		t.Errorf("a forgotten token reads %q", got)
	}
}

func TestBaseMustBeAWebAddress(t *testing.T) {
	for _, base := range []string{"", "ftp://a", "api.example.com", "http://", "https:///x", "http://[::1"} {
		if _, err := New(base, "x", nil, nil); err == nil {
			t.Errorf("%q was accepted", base)
		}
	}
}

// serveOnce answers one connection with the given bytes and returns the request.
func serveOnce(t *testing.T, answer string) (base string, asked <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		text := ""
		for scanner := bufio.NewScanner(conn); scanner.Scan() && scanner.Text() != ""; {
			text += scanner.Text() + "\n"
		}
		lines <- text
		conn.Write([]byte(answer))
	}()
	return "http://" + l.Addr().String(), lines
}

// cloud.md 0.2: User-Agent and Authorization are sent, the path of the base is kept, no redirect is followed.
func TestGet(t *testing.T) {
	base, asked := serveOnce(t, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nhi")
	c, err := New(base+"/below/", "Supervisor/1.2.3", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.do(context.Background(), call{path: "/x", query: url.Values{"q": {"a b"}}, auth: "Bearer key", timeout: time.Minute})
	if err != nil || a.status != 302 || string(a.body) != "hi" {
		t.Errorf("got %d %q %v", a.status, a.body, err)
	}
	text := <-asked
	for _, line := range []string{"GET /below/x?q=a%20b HTTP/1.1\n", "User-Agent: Supervisor/1.2.3\n", "Authorization: Bearer key\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the request lacks %q:\n%s", line, text)
		}
	}
}

func TestGetIsBounded(t *testing.T) {
	base, _ := serveOnce(t, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", maxAnswer+1))
	c, err := New(base, "x", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.do(context.Background(), call{path: "/", timeout: time.Minute}); err == nil {
		t.Error("an endless answer was accepted")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err = New("http://"+l.Addr().String(), "x", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.do(context.Background(), call{path: "/", timeout: 50 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("a silent server gave %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.do(ctx, call{path: "/", timeout: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call gave %v", err)
	}
}

// cloud.md 0.2: the first bundle found counts, the other two sources add to it.
func TestRoots(t *testing.T) {
	pem, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "extra.pem")
	root := t.TempDir()
	bundle := filepath.Join(root, bundles[1])
	if err := errors.Join(os.WriteFile(file, pem, 0o600), os.MkdirAll(filepath.Dir(bundle), 0o755), os.WriteFile(bundle, pem, 0o600)); err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	want.AppendCertsFromPEM(pem)
	f := func(name string, got *x509.CertPool) {
		t.Helper()
		if !got.Equal(want) {
			t.Errorf("%s: the certificate is not trusted", name)
		}
	}
	f("bundle", Roots([]string{"/nowhere", root}, "", "", ""))
	f("file", Roots(nil, file, "", ""))
	f("text", Roots(nil, "/nowhere", string(pem), ""))
	f("config", Roots(nil, "/nowhere", "", base64.StdEncoding.EncodeToString(pem)))
	if empty := Roots([]string{"/nowhere"}, "/nowhere", "x", "y"); !empty.Equal(x509.NewCertPool()) {
		t.Error("the pool is not empty without a source")
	}
}
