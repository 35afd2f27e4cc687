package plan

import (
	"strings"
	"testing"
	"time"
)

// onTrial has release c2 of one service behind the health gate, with a container in this state.
func onTrial(t *testing.T, status, health string, ranFor time.Duration) *world {
	w := newWorld(t)
	w.present("web:1")
	w.app("u1", 1, "c2", service("web", "web:1", nil))
	w.install("u1")
	w.cur.Commits["u1"] = "c1"
	w.opts.Now = time.Unix(5000, 0)
	w.opts.Trial = map[string]time.Time{"u1": w.opts.Now.Add(time.Minute)}
	for _, c := range w.cur.Containers {
		c.Status, c.Running, c.Health = status, status == "running", health
		c.StartedAt = w.opts.Now.Add(-ranFor)
	}
	return w
}

func TestReleaseOnTrialBecomesCurrentWhenGood(t *testing.T) {
	f := func(status, health string, ranFor time.Duration, want string) {
		t.Helper()
		if got := strings.Join(lines(onTrial(t, status, health, ranFor).next()), "; "); got != want {
			t.Errorf("%s, health %q, for %v: %s, want %s", status, health, ranFor, got, want)
		}
	}
	f("running", "healthy", time.Second, "set commit app shop release c2")
	f("running", "starting", time.Hour, "wait app shop")
	f("running", "unhealthy", time.Hour, "wait app shop")
	f("running", "", time.Second, "wait app shop")
	f("running", "", time.Hour, "set commit app shop release c2")
	f("restarting", "", time.Hour, "wait app shop")
	f("exited", "", time.Hour, "wait app shop")
}

// A service may need its lock to become healthy, so the agent releases it before the health gate is passed.
func TestLocksAreReleasedDuringTheTrial(t *testing.T) {
	w := onTrial(t, "running", "starting", time.Hour)
	held(w)
	w.want("wait app shop", "release lock app shop")
	w.opts.Held = nil
	w.want("wait app shop")
}

func TestWaitOnTrialSaysWhenItPasses(t *testing.T) {
	w := onTrial(t, "running", "", 4*time.Second)
	if s := w.next()[0]; !s.Until.Equal(w.opts.Now.Add(minUptime - 4*time.Second)) {
		t.Errorf("wait until %v", s.Until)
	}
}

func TestReleaseIsRolledBackWhenTimeIsUp(t *testing.T) {
	w := onTrial(t, "running", "unhealthy", time.Hour)
	w.opts.Trial["u1"] = w.opts.Now
	w.want("roll back app shop release c2")
	if s := w.next()[0]; !strings.Contains(s.Reason, "unhealthy") || s.Source == nil {
		t.Errorf("step %v from %v", s, s.Source)
	}
	w = onTrial(t, "running", "healthy", time.Hour)
	w.opts.Trial["u1"] = w.opts.Now
	w.want("set commit app shop release c2")
	w = onTrial(t, "created", "", 0) // a container that cannot be started
	w.opts.Trial["u1"] = w.opts.Now
	w.want("roll back app shop release c2")
}

// The deadline waits for a container that has just been started, however short it is.
func TestTimeIsNotUpWhileAContainerMayStillCrash(t *testing.T) {
	w := onTrial(t, "running", "", 4*time.Second)
	w.opts.Trial["u1"] = w.opts.Now
	w.want("wait app shop")
	for _, c := range w.cur.Containers {
		c.Status, c.Running = "restarting", true
	}
	w.want("roll back app shop release c2")
}

// The deadline waits for the reboot that starts the release.
func TestTimeIsNotUpBeforeTheReboot(t *testing.T) {
	w := onTrial(t, "created", "", 0)
	w.opts.Trial["u1"], w.opts.RebootRequired = w.opts.Now, true
	s := w.target.Apps["u1"].Release.Services["web"]
	s.Labels["io.balena.update.requires-reboot"] = "1"
	for _, c := range w.cur.Containers {
		c.Config = w.resolve()["u1"].Services["web"].Container
		w.opts.Earlier = map[string]bool{c.ID: true}
	}
	rebooted := w.opts.Earlier
	w.opts.Earlier = nil
	w.want("wait app shop", "reboot device")
	w.opts.Earlier, w.opts.RebootRequired = rebooted, false
	w.want("roll back app shop release c2")
}

func TestWithoutTrialAReleaseIsCurrentAtOnce(t *testing.T) {
	w := onTrial(t, "running", "unhealthy", time.Second)
	w.opts.Trial = nil
	w.want("set commit app shop release c2")
}

// A job that exited with code 0 and is not restarted passes the health gate.
func TestFinishedJobIsGood(t *testing.T) {
	f := func(policy string, exit int, want string) {
		t.Helper()
		w := onTrial(t, "exited", "", time.Hour)
		w.target.Apps["u1"].Release.Services["web"].Composition = map[string]any{"restart": policy}
		for _, c := range w.cur.Containers {
			c.ExitCode, c.Config = exit, w.resolve()["u1"].Services["web"].Container
		}
		if got := strings.Join(lines(w.next()), "; "); got != want {
			t.Errorf("policy %s, exit code %d: %s, want %s", policy, exit, got, want)
		}
	}
	f("no", 0, "set commit app shop release c2")
	f("no", 1, "wait app shop")
	f("always", 0, "wait app shop")
}
