package cloud

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// cloud.md 15, 16 (Q3): the device gets a new identity only if the cloud answers for both keys that it does not know the
// device. An outage, a wrong clock or a captive portal never causes one.
func TestIdentityIsKept(t *testing.T) {
	type reply struct {
		status int
		body   string
	}
	const device, provisioning = "Bearer own", "Bearer provisioning"
	f := func(name string, own, other reply, fresh bool) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go fasthttp.Serve(l, func(ctx *fasthttp.RequestCtx) {
			r := reply{409, "exists"}
			switch {
			case string(ctx.Path()) == "/device/register":
			case string(ctx.Request.Header.Peek("Authorization")) == device:
				r = own
			case string(ctx.Request.Header.Peek("Authorization")) == provisioning:
				r = other
			}
			ctx.SetStatusCode(r.status)
			ctx.SetBodyString(r.body)
		})
		client, err := New("http://"+l.Addr().String(), "test", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var saved map[string]any
		d, err := NewDevice(Options{
			Client: func(string) (*Client, error) { return client, nil },
			Identity: func() Identity {
				return Identity{Endpoint: "http://cloud", UUID: "abc", DeviceAPIKey: "own", APIKey: "provisioning", ApplicationID: 1}
			},
			Save:  func(change map[string]any) error { saved = change; return nil },
			Facts: func() Facts { return Facts{} }, Terms: func() Terms { return Terms{Patience: 10 * time.Second} },
			Docs: nothing{}, Log: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.provision(context.Background(), true); err == nil {
			t.Errorf("%s: provisioned", name)
		}
		if got := saved["uuid"] != nil; got != fresh {
			t.Errorf("%s: another identity: %v, want %v (%v)", name, got, fresh, saved)
		}
	}
	empty, denied, away := reply{200, `{"d":[]}`}, reply{401, "Unauthorized"}, reply{503, "down"}
	f("both empty", empty, empty, true)
	f("both denied", denied, denied, true)
	f("own denied, other empty", denied, empty, true)
	f("own out, other empty", away, empty, false)
	f("own out, other denied", away, denied, false)
	f("own empty, other out", empty, away, false)
	f("own without a list", reply{200, `{}`}, empty, false)
	f("other without a list", empty, reply{200, `{"login":"please"}`}, false)
	f("other is a page", empty, reply{200, `<html>`}, false)
}

// docs/spec/host.md 3.2: an earlier key is restored if the cloud refuses the current one and accepts the earlier one. A
// working key stays, and an outage changes nothing.
func TestEarlierKeyComesBack(t *testing.T) {
	f := func(name string, i Identity, good string, status int, former []string, want string) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go fasthttp.Serve(l, func(ctx *fasthttp.RequestCtx) {
			if string(ctx.Request.Header.Peek("Authorization")) != "Bearer "+good {
				ctx.SetStatusCode(status)
				return
			}
			ctx.SetBodyString(`{"d":[{"id":7}]}`)
		})
		client, err := New("http://"+l.Addr().String(), "test", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		i.Endpoint, i.UUID = "http://cloud", "abc"
		d, err := NewDevice(Options{
			Client:   func(string) (*Client, error) { return client, nil },
			Identity: func() Identity { return i },
			Save: func(change map[string]any) error {
				if key, given := change["deviceApiKey"]; given {
					i.DeviceAPIKey = key.(string)
				}
				i.DeviceID = change["deviceId"].(int64)
				return nil
			},
			FormerKeys: func() []string { return former },
			Terms:      func() Terms { return Terms{Patience: 10 * time.Second} }, Docs: nothing{}, Log: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if i.DeviceID == 0 {
			_, err = d.exchangeKeys(context.Background(), i, true)
		} else {
			_, err = d.get(context.Background(), "")
		}
		if i.DeviceAPIKey != want || (err == nil) != (want == good) {
			t.Errorf("%s: the key is %s (%v), want %s", name, i.DeviceAPIKey, err, want)
		}
	}
	registered, unregistered := Identity{DeviceAPIKey: "new", DeviceID: 7, RegisteredAt: 9}, Identity{DeviceAPIKey: "new", RegisteredAt: 9}
	f("the earlier is good", registered, "old", 401, []string{"older", "old"}, "old")
	f("the earlier is good, no id", unregistered, "old", 401, []string{"older", "old"}, "old")
	f("the new is good", registered, "new", 401, []string{"old"}, "new")
	f("none is good", registered, "lost", 401, []string{"older", "old"}, "new")
	f("there is none", registered, "old", 401, nil, "new")
	f("out", registered, "old", 503, []string{"old"}, "new")
	f("out, no id", unregistered, "old", 503, []string{"old"}, "new")
}
