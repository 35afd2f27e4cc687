package engine

import (
	"strings"
	"testing"

	"resin-supervisor/update/engine"

	"resin-supervisor/test/harness"
)

// engine.md 1.
func TestEveryCallCarriesAVersionTheEngineHas(t *testing.T) {
	c, e := bed(t)
	p := newTap(t, e.Socket)
	c = engine.New("unix://" + p.socket)
	for range 3 {
		harness.Must(t, second(c.Images(t.Context())), second(c.Info(t.Context())))
	}
	v, err := c.Negotiate(t.Context())
	if err != nil || v.ApiVersion == "" || v.Version == "" || len(v.Components) == 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	if n := p.count("GET /version "); n != 1 {
		t.Errorf("asked %d times for the version", n)
	}
	for _, r := range p.requests() {
		if r != "" && !strings.HasPrefix(r, "GET /version ") && !strings.HasPrefix(r, "GET /v1.41/") {
			t.Errorf("sent %s", r)
		}
	}
}

func TestVersionIsReadAgainAfterARestart(t *testing.T) {
	c, e := bed(t)
	p := newTap(t, e.Socket)
	through := engine.New(p.socket)
	harness.Must(t, second(through.Volumes(t.Context())), second(c.Volumes(t.Context())))
	e.Stop(t)
	for what, client := range map[string]*engine.Client{"no socket": c, "dead socket": through} {
		if err := second(client.Volumes(t.Context())); !engine.IsUnknown(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	e.Start(t)
	// The first call after the restart succeeds, whatever was open before.
	harness.Must(t, second(c.Volumes(t.Context())), second(through.Volumes(t.Context())))
	if n := p.count("GET /version "); n < 2 {
		t.Errorf("asked %d times for the version", n)
	}
}
