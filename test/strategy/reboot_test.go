package strategy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// The label requires-reboot (docs/spec/engine.md 5.6): created, not started, the request made once, the
// reboot asked for when all is settled; started after the reboot. This logind always refuses.
func TestRequiresReboot(t *testing.T) {
	image := harness.ServerImage("reboot/app:v1").Load(t)
	app := harness.Shop("aaaa1", 1, image.Service("web", 1).Labelled(rebootLabel, "1"), image.Service("db", 2))
	bus := harness.NewBus(t)
	bus.Refuse("not now")
	s := harness.NewSupervisor(t, harness.Setup{Bus: bus})
	reached := func(commit string) {
		t.Helper()
		asked := bus.Asked("Reboot")
		harness.Until(t, harness.Soon, "a reboot asked for release "+commit, func() error {
			if now := s.Device().Commit; now != commit || bus.Asked("Reboot") == asked {
				return fmt.Errorf("release is %q, logind was asked for %v", now, bus.Calls())
			}
			return nil
		})
	}
	breadcrumb := s.Path("root/tmp/balena-supervisor/reboot-after-apply")
	s.Start()
	s.WaitListed()
	s.PostTarget(harness.TargetOf(app))
	reached("aaaa1")
	first, err := os.Stat(breadcrumb)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when, web string) {
		t.Helper()
		now := s.Containers()
		if now["web"].State.Status != web || now["db"].State.Status != "running" {
			t.Errorf("%s: web is %s, want %s; db is %s", when, now["web"].State.Status, web, now["db"].State.Status)
		}
	}
	check("after the release", "created")
	if reason := s.Status().Apps[0].Containers; !strings.Contains(fmt.Sprint(reason), "next boot") {
		t.Errorf("shown as %+v", reason)
	}
	s.Restart()
	s.WaitListed()
	s.PostTarget(harness.TargetOf(app.Released("bbbb2", 2)))
	reached("bbbb2")
	check("after another release and a restart of the supervisor", "created")
	if again, err := os.Stat(breadcrumb); err != nil || !again.ModTime().Equal(first.ModTime()) {
		t.Errorf("the request was made again: %v", err)
	}
	if n := s.CountSteps("require reboot"); n != 1 {
		t.Errorf("%d requests", n)
	}

	// The same device after a reboot.
	id := s.Containers()["web"].ID
	harness.Until(t, harness.Soon, "the clock to go on", func() error {
		if c, err := os.Stat(breadcrumb); err != nil || time.Since(c.ModTime()) < 2*time.Second {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	s.Kill()
	s.RunBy(harness.Rebooted(t))
	s.Start()
	s.WaitRunning(id)
	s.Expect(harness.TargetOf(app.Released("bbbb2", 2)))
	s.WaitSettled(harness.Soon)

	// The next release, on a board whose clock starts from the past.
	s.PostTarget(harness.TargetOf(app.Released("cccc3", 3).With(image.Service("web", 1).Labelled(rebootLabel, "1").Setting("V", "2"), image.Service("db", 2))))
	reached("cccc3")
	check("after a release that changes it", "created")
	asked := bus.Asked("Reboot")
	id = s.Containers()["web"].ID
	s.Kill()
	s.RunBy(harness.RebootedIntoThePast(t))
	s.Start()
	s.WaitRunning(id)
	s.WaitSettled(harness.Soon)
	if n := bus.Asked("Reboot"); n != asked || s.CountSteps("require reboot") != 2 {
		t.Errorf("%d reboots asked for in the new boot, %d requests", n-asked, s.CountSteps("require reboot"))
	}
}
