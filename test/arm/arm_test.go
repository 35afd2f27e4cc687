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
	s.CallAs("", "GET", "/ping", nil).Want(t, 200, "OK")
	app := harness.Shop("aaaa1", 1, image.Service("web", 1).Labelled("io.balena.features.supervisor-api", "1").
		Composed("volumes", []any{"data:/data"})).WithVolumes("data")
	s.Apply(harness.TargetOf(app))
	web := s.Containers()["web"]
	harness.WantVersion(t, web, "v1")
	key := web.Env("BALENA_SUPERVISOR_API_KEY")
	if status, body := harness.FetchFrom(t, web, "GET", web.Env("BALENA_SUPERVISOR_ADDRESS")+"/v1/device?apikey="+key); status != 200 {
		t.Errorf("the API from inside the container: %d %s", status, body)
	}
	s.Restart()
	s.WaitSettled(30 * time.Second)
	if now := s.Containers()["web"]; now.ID != web.ID {
		t.Error("a restart recreated the container")
	}
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2).With(app.Services[0].Setting("MODE", "new"))))
	if now := s.Containers()["web"]; now.Env("MODE") != "new" {
		t.Error("the update did not reach the container")
	}
	s.Post("/v1/restart", map[string]any{"appId": 31}).Want(t, 200, "OK")
}
