package cloud

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// cloud.md 36: a configured timeout that is too short does not cut a device off for ever.
func TestPollWithoutPatience(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go fasthttp.Serve(l, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("{}") })
	client, err := New("http://"+l.Addr().String(), "test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, timeout := range []time.Duration{0, time.Nanosecond} {
		d, err := NewDevice(Options{
			Client:   func(string) (*Client, error) { return client, nil },
			Identity: func() Identity { return Identity{Endpoint: "http://cloud", UUID: "abc"} },
			Terms:    func() Terms { return Terms{Patience: timeout} }, Docs: nothing{}, Log: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		for d.poller.failures = range lenientAfter {
			if _, err := d.get(context.Background(), ""); err == nil {
				t.Fatalf("an answer within %v", timeout)
			}
		}
		d.poller.failures = lenientAfter
		if f, err := d.get(context.Background(), ""); err != nil || string(f.body) != "{}" {
			t.Errorf("after %d failures: %v", lenientAfter, err)
		}
	}
}
