package api_test

import (
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// design: the binary's commands, as an operator and the container runtime use them.
func TestHealthcheckExitCode(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	if code, _, _ := s.Run("healthcheck"); code != 1 {
		t.Errorf("healthcheck without a supervisor: code %d, want 1", code)
	}
	s.Start()
	if code, out, errs := s.Run("healthcheck"); code != 0 {
		t.Errorf("healthcheck: code %d %s %s", code, out, errs)
	}
	s.Stop()
	if code, _, _ := s.Run("healthcheck"); code != 1 {
		t.Errorf("healthcheck after the stop: code %d, want 1", code)
	}
}

func TestAPIKeyIsOneWordAndStable(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	code, out, _ := s.Run("api-key")
	key := strings.TrimSuffix(out, "\n")
	if code != 0 || len(key) < 16 || strings.ContainsAny(key, " \n\t") {
		t.Errorf("api-key: code %d, output %q", code, out)
	}
	s.Restart()
	if _, again, _ := s.Run("api-key"); again != out {
		t.Errorf("the key changed from %q to %q over a restart", out, again)
	}
}

func TestStatusNamesEveryService(t *testing.T) {
	f := newFleet(t)
	code, out, errs := f.Run("status")
	if code != 0 {
		t.Fatalf("status: code %d %s", code, errs)
	}
	for _, want := range []string{"shop", "web", "db", "solo", "main", "Running"} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not show %s:\n%s", want, out)
		}
	}
	if strings.Contains(out, f.Key()) || strings.Contains(out, f.keyOf(t, "web")) {
		t.Error("status shows a key")
	}
	f.Stop()
	if code, _, errs := f.Run("status"); code == 0 || errs == "" {
		t.Errorf("status without a supervisor: code %d, errors %q", code, errs)
	}
}

func TestVersionCommandAgreesWithTheAPI(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	s.WaitListed()
	code, out, _ := s.Run("version")
	if version := s.Device().SupervisorVersion; code != 0 || version == "" || !strings.Contains(out, version) {
		t.Errorf("version: code %d, output %q, the API says %q", code, out, version)
	}
}

// docs/spec/device-api.md 2.22: what SUPERVISOR_TAG_EXTRA holds is appended to the version.
func TestVersionWithAnExtra(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{Env: map[string]string{"SUPERVISOR_TAG_EXTRA": "shop_1"}})
	s.WaitListed()
	var answer struct{ Version string }
	s.Get("/v2/version").JSON(t, &answer)
	if device := s.Device().SupervisorVersion; !strings.Contains(answer.Version, "+") || !strings.HasSuffix(answer.Version, "shop-1") || device != answer.Version {
		t.Errorf("version %q, of the device %q", answer.Version, device)
	}
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	for _, args := range [][]string{{"no-such-command"}, {"--no-such-flag"}, {"version", "extra"}} {
		if code, out, errs := s.Run(args...); code == 0 || errs == "" {
			t.Errorf("%q: code %d, output %q, errors %q", args, code, out, errs)
		}
	}
	for _, args := range [][]string{{"-h"}, {"healthcheck", "-h"}, {"api-key", "-h"}, {"status", "-h"}, {"version", "-h"}} {
		if code, out, errs := s.Run(args...); code != 0 || out+errs == "" {
			t.Errorf("%q: code %d, output %q", args, code, out+errs)
		}
	}
}

// docs/spec/cloud.md 10: 7; docs/spec/device-api.md 1.11.
func TestStartAndStop(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	began := time.Now()
	s.Stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	const wrong = `{"uuid":"0123456789abcdef0123456789abcdef","listenPort":"none"}`
	s.WriteFile("boot/config.json", wrong)
	s.Launch()
	select {
	case <-s.Process().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the supervisor runs with a config.json that cannot be understood")
	}
	if code := s.Process().ExitCode(); code != 1 {
		t.Errorf("exit code with a bad value in config.json: %d, want 1", code)
	}
	if got := s.ReadFile("boot/config.json"); got != wrong {
		t.Errorf("config.json was changed to %q", got)
	}
}
