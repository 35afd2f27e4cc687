package engine

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

func TestURI(t *testing.T) {
	f := func(r request, want string) {
		t.Helper()
		if got := r.uri("/v1.41"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(get("", "/images/reg.example:5000/a/b@sha256:00/json", nil), "/v1.41/images/reg.example:5000/a/b@sha256:00/json")
	f(get("", "/volumes/a b?c#d%2f\r\n", nil), "/v1.41/volumes/a%20b%3Fc%23d%252f%0D%0A")
	f(get("", "/networks", query("filters", labelFilter([]string{"a", "b=c&d"}))),
		"/v1.41/networks?filters=%7B%22label%22%3A%5B%22a%22%2C%22b%3Dc%5Cu0026d%22%5D%7D")
	f(get("", "/networks", query("filters", labelFilter(nil))), "/v1.41/networks")
	f(remove("", "/containers/1", query("v", "1", "force", flag(false))), "/v1.41/containers/1?v=1")
	f(remove("", "/containers/1", query("v", "1", "force", flag(true))), "/v1.41/containers/1?force=1&v=1")
	f(get("", "/events", query("since", instant(time.Unix(7, 80)))), "/v1.41/events?since=7.000000080")
	f(get("", "/events", query("since", instant(time.Time{}))), "/v1.41/events")
}

func TestEncodeRefusesNamesThatChangeThePath(t *testing.T) {
	f := func(path string) {
		t.Helper()
		if _, err := get("inspect", path, nil).encode("/v1.41"); status(err) != 400 {
			t.Errorf("%s: %v", path, err)
		}
	}
	f("/containers//json")
	f("/volumes/")
	f("/volumes/..")
	f("/volumes/./a")
	f("/images/a/../b/json")
}

func TestEncode(t *testing.T) {
	r := post("create", "/volumes/create", nil, doc.VolumeCreate{Name: "v"})
	r.auth = &doc.AuthConfig{Username: "d_1", Password: "p\xffw?>", ServerAddress: "reg"}
	req, err := r.encode("/v1.41")
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	if _, err := req.WriteTo(&sent); err != nil {
		t.Fatal(err)
	}
	var back fasthttp.Request
	if err := back.Read(bufio.NewReader(&sent)); err != nil {
		t.Fatal(err)
	}
	f := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	f("method", string(back.Header.Method()), "POST")
	f("body", string(back.Body()), `{"Name":"v","Driver":"","DriverOpts":null,"Labels":null}`)
	f("type", string(back.Header.ContentType()), "application/json")
	f("auth", string(back.Header.Peek("X-Registry-Auth")),
		"eyJ1c2VybmFtZSI6ImRfMSIsInBhc3N3b3JkIjoicFx1ZmZmZHc_XHUwMDNlIiwic2VydmVyYWRkcmVzcyI6InJlZyJ9")
	if !back.ConnectionClose() {
		t.Error("connection would be kept alive")
	}
}

func TestEncodeWithoutAuthSendsNoHeader(t *testing.T) {
	req, err := post("pull", "/images/create", query("fromImage", "web", "tag", "1"), nil).encode("/v1.41")
	if err != nil {
		t.Fatal(err)
	}
	if text := req.Header.String(); strings.Contains(text, "Auth") {
		t.Errorf("sent %s", text)
	}
}

func TestImageName(t *testing.T) {
	f := func(repo, tag, want string) {
		t.Helper()
		if got := imageName(repo, tag); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("reg/web", "1", "reg/web:1")
	f("reg/web", "sha256:00", "reg/web@sha256:00")
}
