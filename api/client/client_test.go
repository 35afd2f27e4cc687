package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/api"
	"resin-supervisor/update/view"
)

// memory is a device with one app and one key.
type memory struct {
	api.Apps
	api.Device
	sick bool
}

func (*memory) View() *view.State {
	return &view.State{
		Revision: 1, Synced: true, DeviceName: "holy-moon",
		Apps: []view.App{{
			ID: 12, Name: "shop", Class: "fleet", InTarget: true, TargetCommit: "c12", Commit: "c12",
			Services:   []view.Service{{Name: "web", ImageID: 5, Running: true}},
			Containers: []view.Container{{ID: "9d2f", ServiceName: "web", ImageID: 5, Commit: "c12", Status: "Running"}},
		}},
	}
}

func (*memory) Lookup(key string) (int, bool, bool) { return 0, key == "right", key == "right" }

func (*memory) Regenerate(string) (string, error) { return "", errors.New("not here") }

func (*memory) Facts() api.DeviceFacts {
	return api.DeviceFacts{APIPort: 48484, SupervisorVersion: "20.0.1", Managed: true}
}

func (*memory) UserLock(int) string { return "" }

func (*memory) Vitals() api.Vitals { return api.Vitals{} }

func (m *memory) Healthy() bool { return !m.sick }

func serve(t *testing.T, m *memory) string {
	t.Helper()
	ln, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- api.New(m, m, m, zerolog.Nop()).Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-ended })
	return ln.Addr().String()
}

func TestCalls(t *testing.T) {
	address := serve(t, &memory{})
	before := runtime.NumGoroutine()
	c, ctx := New(address, "right", 5*time.Second), context.Background()
	if err := c.Healthy(ctx); err != nil {
		t.Error(err)
	}
	all, text, err := c.Overview(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(all.Device.SupervisorVersion, all.Device.APIPort, all.Device.Name, all.Apps[0].UpdateStatus, all.Apps[0].Containers[0].Status)
	want := fmt.Sprint("20.0.1", 48484, "holy-moon", "done", "Running")
	if !json.Valid(text) || !strings.Contains(string(text), `"name":"holy-moon"`) {
		t.Errorf("text %s", text)
	}
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines after the calls, %d before", runtime.NumGoroutine(), before)
}

func TestRefusals(t *testing.T) {
	address := serve(t, &memory{sick: true})
	ctx := context.Background()
	f := func(err error, op string, code int, message string) {
		t.Helper()
		var refused *Error
		if !errors.As(err, &refused) || *refused != (Error{op, code, message}) {
			t.Errorf("got %v, want %s %d %s", err, op, code, message)
		}
	}
	f(New(address, "", time.Second).Healthy(ctx), "GET /v1/healthy", 500, "Unhealthy")
	_, _, err := New(address, "wrong", time.Second).Overview(ctx)
	f(err, "GET /supervisor/v1/status", 401, "Unauthorized")
	f(&Error{"GET /x", 503, "why"}, "GET /x", 503, "why")
	if got := message([]byte(`{"status":"failed","message":"why"}`)); got != "why" {
		t.Errorf("message %q", got)
	}
}

func TestSilentServerTimesOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	began := time.Now()
	err = New(ln.Addr().String(), "", 50*time.Millisecond).Healthy(context.Background())
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := New(ln.Addr().String(), "", time.Minute).Healthy(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	ln.Close()
	if err := New(ln.Addr().String(), "", time.Minute).Healthy(context.Background()); err == nil {
		t.Error("a closed port answers")
	}
}
