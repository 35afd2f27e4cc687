package execute

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/plan"
)

// Only what is this very machine is spoken to without TLS unasked, and no host that is named like it.
func TestRegistriesWithoutTLS(t *testing.T) {
	a := check{indexes: map[string]struct{ Secure bool }{"open.example:5000": {}, "docker.io": {Secure: true}}}
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.1.2.3": true, "open.example:5000": true,
		"localhost.example": false, "localhosted:80": false, "127.example:5000": false, "127.0.0.1.example": false, "docker.io": false, "": false,
	} {
		if a.plain(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

// A registry that the engine reaches and we do not is waited for once, however many images come from it.
func TestOneWaitForARegistry(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) {
		switch path := string(c.Path()); {
		case path == "/version":
			c.WriteString(`{"ApiVersion":"1.41","MinAPIVersion":"1.12"}`)
		case strings.HasSuffix(path, "/info"):
			c.WriteString(`{"Architecture":"aarch64"}`)
		default:
			c.WriteString(`{"Platforms":[{"architecture":"arm64","os":"linux"}]}`)
		}
	}}
	go server.Serve(listener)
	defer server.Shutdown()
	asked := map[string]int{}
	x := &Executor{
		engine: engine.New(socket), store: observe.NewStore(current.Empty(), nil), log: zerolog.Nop(), images: Images{
			Auth: func(string) *doc.AuthConfig { return nil },
			Free: func(string) (int64, error) { return 0, os.ErrNotExist },
			Registry: func(_ context.Context, u *url.URL, _, _, _ string) (int, []byte, string, error) {
				asked[u.Host]++
				return 0, nil, "", errors.New("unreachable")
			},
		}}
	s := plan.Step{Images: []string{"a.example/web:1", "a.example/db:1", "b.example/web:1", "a.example/log:1"}}
	if err := x.checkImages(t.Context(), s); err != nil || asked["a.example"] != 1 || asked["b.example"] != 1 {
		t.Errorf("%v, asked %v", err, asked)
	}
}
