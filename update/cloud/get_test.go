package cloud

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// A redirect to another host loses the credentials. A server that ignores the range gives no body. A redirect from
// https to http is refused.
func TestGetGoesOn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	shown := make(map[string]string)
	server := &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) {
		shown[string(c.Host())+string(c.Path())] = string(c.Request.Header.Peek("Authorization"))
		switch string(c.Path()) {
		case "/near":
			c.Response.Header.Set("Location", "/whole?a=b")
			c.SetStatusCode(fasthttp.StatusTemporaryRedirect)
		case "/far":
			c.Response.Header.Set("Location", "http://127.0.0.2:"+port+"/whole?a=b")
			c.SetStatusCode(fasthttp.StatusTemporaryRedirect)
		default:
			c.WriteString("all of " + string(c.QueryArgs().Peek("a")))
		}
	}}
	go server.Serve(listener)
	other, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(other)
	defer server.Shutdown()
	get := func(path, part string) string {
		t.Helper()
		u := &url.URL{Scheme: "http", Host: "127.0.0.1:" + port, Path: path}
		status, body, _, err := Get(context.Background(), "agent", nil, nil, u, "Basic x", "*/*", part)
		if err != nil || status != 200 {
			t.Errorf("%s: %d %v", path, status, err)
		}
		return string(body)
	}
	if near, far := get("/near", ""), get("/far", ""); near != "all of b" || far != "all of b" {
		t.Errorf("%q, %q", near, far)
	}
	if part := get("/whole", "bytes=-4"); part != "" {
		t.Errorf("got %q instead of the range", part)
	}
	here, there := "127.0.0.1:"+port+"/", "127.0.0.2:"+port+"/"
	if shown[here+"near"] != "Basic x" || shown[here+"whole"] != "Basic x" || shown[there+"whole"] != "" {
		t.Errorf("shown: %v", shown)
	}
	secure := &Client{base: &url.URL{Scheme: "https", Host: "a.example"}}
	answer := "HTTP/1.1 307 x\r\nLocation: http://b.example/x?signature=secret\r\nContent-Length: 0\r\n\r\n"
	_, _, _, err = secure.receive(&trackedReader{Reader: strings.NewReader(answer)}, &call{follow: true})
	if err == nil || !strings.Contains(err.Error(), "from https to http") || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "b.example") {
		t.Errorf("redirect from https to http: %v", err)
	}
}
