// Package arm_test runs the binaries for ARM boards under an emulator against a real engine.
package arm_test

import (
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestARMv6BootsAndApplies(t *testing.T) {
	bootAndApply(t, harness.BinaryARMv6(t), "qemu-arm-static")
}

func TestARM64BootsAndApplies(t *testing.T) {
	bootAndApply(t, harness.BinaryARM64(t), "qemu-aarch64-static")
}

// bootAndApply starts an emulated supervisor, brings one service up, updates it and restarts.
func bootAndApply(t *testing.T, binary, emulator string) {
	image := harness.ServerImage("arm/app:v1").Load(t)
	s := harness.StartSupervisor(t, harness.Setup{Binary: binary, Runner: harness.Tool(t, emulator)})
	s.Call(harness.Request{Method: "GET", Path: "/ping", NoKey: true}).Want(t, 200, "OK")
	app := harness.App{ID: 31, Name: "shop", Commit: "aaaa1", Release: 1, Volumes: map[string]any{"data": map[string]any{}},
		Services: []harness.Service{{ID: 1, Name: "web", ImageID: 1001, Image: image.Name,
			Labels:  map[string]string{"io.balena.features.supervisor-api": "1"},
			Compose: map[string]any{"volumes": []any{"data:/data"}}}}}
	s.Apply(harness.Target{Apps: []harness.App{app}})
	web := s.Containers()["web"]
	if got := harness.MustAsk(t, web, "GET", "/version", ""); got != "v1" {
		t.Errorf("web serves %q", got)
	}
	key := web.Env("BALENA_SUPERVISOR_API_KEY")
	if status, body := harness.FetchFrom(t, web, "GET", web.Env("BALENA_SUPERVISOR_ADDRESS")+"/v1/device?apikey="+key); status != 200 {
		t.Errorf("the API from inside the container: %d %s", status, body)
	}
	s.Restart()
	s.WaitSettled(30 * time.Second)
	if now := s.Containers()["web"]; now.ID != web.ID {
		t.Error("a restart recreated the container")
	}
	s.Apply(harness.Target{Apps: []harness.App{app.Released("bbbb2", 2).With(app.Services[0].Setting("MODE", "new"))}})
	if now := s.Containers()["web"]; now.Env("MODE") != "new" {
		t.Error("the update did not reach the container")
	}
	s.Post("/v1/restart", map[string]any{"appId": 31}).Want(t, 200, "OK")
}
