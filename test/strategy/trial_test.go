package strategy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// trialTime is how long releases are on trial here, in milliseconds: enough for their containers to be
// made and started.
const trialTime = "3000"

// onTrial is a device with release aaaa1 of shop applied, whose next releases are on trial.
type onTrial struct {
	t *testing.T
	*harness.Supervisor
	image  harness.Image
	first  harness.App
	before map[string]harness.Container
}

func newTrial(t *testing.T) *onTrial {
	t.Helper()
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("trial/app:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2))
	s.Apply(harness.TargetOf(first))
	return &onTrial{t, s, image, first, byName(t, s)}
}

// release is the second release: web with another image, and as change makes it.
func (o *onTrial) release(change func(harness.Service) harness.Service) harness.App {
	o.t.Helper()
	fresh := harness.ServerImage("trial/fresh:v2").Load(o.t)
	web := change(o.first.Services[0].Using(fresh.Name, 2001)).Labelled(rollbackLabel, trialTime)
	return o.first.Released("bbbb2", 2).With(web, o.first.Services[1])
}

// back waits until the first release runs again and checks how it came to that.
func (o *onTrial) back(why string) {
	o.t.Helper()
	o.Expect(harness.TargetOf(o.first))
	o.WaitSettled(harness.Soon)
	isBack(o.t, o.Supervisor, o.before, o.first, "bbbb2", why)
	if n := o.Proxy.Counts()[pullCall]; n != 0 {
		o.t.Errorf("%d pulls", n)
	}
}

// isBack checks that an app is at its first release, with db untouched, after another one failed.
func isBack(t *testing.T, s *harness.Supervisor, before map[string]harness.Container, first harness.App, failed, why string) {
	t.Helper()
	now := byName(t, s)
	harness.WantVersion(t, now[first.ContainerName(first.Services[0])], "v1")
	db := first.ContainerName(first.Services[1])
	if now[db].ID != before[db].ID || now[db].State.StartedAt != before[db].State.StartedAt {
		t.Errorf("%s, which did not change, was restarted", db)
	}
	for _, app := range s.Status().Apps {
		if app.Name == first.Name && (app.Commit != first.Commit || app.TargetCommit != failed || app.UpdateStatus != "aborted" ||
			!strings.Contains(app.RolledBack, failed) || !strings.Contains(app.RolledBack, why)) {
			t.Errorf("shown as %+v, want the reason %q", app, why)
		}
	}
	if text := s.Overview(); !strings.Contains(text, "release "+failed+" failed") {
		t.Errorf("status says\n%s", text)
	}
}

// Every way in which a release can fail, each in an app of its own.
func TestReleaseThatFailsItsTrialIsRolledBack(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image, fresh, crash := harness.ServerImage("trial/app:v1").Load(t), harness.ServerImage("trial/fresh:v2").Load(t), harness.OneshotImage("trial/crash:v2").Load(t)
	var first, next []harness.App
	var whys []string
	f := func(name, why string, change func(harness.Service) harness.Service) {
		n := len(first)
		app := harness.App{ID: 31 + n, Name: name, Commit: fmt.Sprintf("aaaa%d", n), Release: 10*n + 1,
			Services: []harness.Service{image.Service("web", 1), image.Service("db", 2)}}
		web := change(app.Services[0].Using(fresh.Name, 2001)).Labelled(rollbackLabel, "15000") // five at once take their time
		first = append(first, app)
		next = append(next, app.Released(fmt.Sprintf("bbbb%d", n), 10*n+2).With(web, app.Services[1]))
		whys = append(whys, why)
	}
	f("crash loop", "service web ", func(s harness.Service) harness.Service { return s.Using(crash.Name, 2002).Setting("EXIT_CODE", "1") })
	f("never healthy", "service web is ", func(s harness.Service) harness.Service { return checked(s, "/never") })
	f("cannot be started", "never started", func(s harness.Service) harness.Service { return s.Composed("entrypoint", list{"/not-there"}) })
	f("never healthy, hand-over", "service web is ", func(s harness.Service) harness.Service {
		return checked(s, "/never").Labelled(strategyLabel, "hand-over").Labelled(handoverLabel, "500")
	})
	f("kill first", "service web is ", func(s harness.Service) harness.Service {
		return checked(s, "/never").Labelled(strategyLabel, "kill-then-download")
	})
	s.Apply(harness.TargetOf(first...))
	before := byName(t, s)
	s.PostTarget(harness.TargetOf(next...))
	s.Expect(harness.TargetOf(first...))
	s.WaitSettled(2 * harness.Soon)
	for n, app := range first {
		isBack(t, s, before, app, next[n].Commit, whys[n])
	}
	if n := s.Proxy.Counts()[pullCall]; n != 0 {
		t.Errorf("%d pulls", n)
	}
}

// A failed release is not tried again by a restart of the supervisor, and is when the target says
// something else, be it of the same release.
func TestFailedReleaseWaitsForAnotherTarget(t *testing.T) {
	o := newTrial(t)
	bad := o.release(func(s harness.Service) harness.Service { return checked(s, "/never") })
	o.PostTarget(harness.TargetOf(bad))
	o.back("service web is ")
	ids := o.IDs()
	o.Restart()
	o.WaitListed()
	o.PostTarget(harness.TargetOf(bad)) // the same words again
	o.Expect(harness.TargetOf(o.first))
	o.WaitSettled(harness.Soon)
	if now := o.IDs(); now["web"] != ids["web"] || now["db"] != ids["db"] {
		t.Error("the failed release was tried again")
	}
	if n := o.CountSteps("roll back"); n != 1 {
		t.Errorf("%d roll-backs", n)
	}
	good := bad.With(bad.Services[0].Setting("FIXED", "yes").Labelled(rollbackLabel, "60000"), bad.Services[1])
	harness.ServerImage("trial/fresh:v2").Load(t) // it was removed with the failed release
	o.PostTarget(harness.TargetOf(good))
	o.WaitRunning("web_2001_2_bbbb2")
	c, err := o.Engine.Container("web_2001_2_bbbb2")
	if err != nil {
		t.Fatal(err)
	}
	harness.MustAsk(t, c, http.MethodPut, "/file?path=/never", "")
	o.Expect(harness.TargetOf(good))
	o.WaitSettled(harness.Soon)
	if app := o.Status().Apps[0]; app.Commit != "bbbb2" || app.RolledBack != "" {
		t.Errorf("shown as %+v", app)
	}
}

// A good release becomes current when it is healthy, not before, and the old images go only then.
func TestGoodReleasePassesItsTrial(t *testing.T) {
	o := newTrial(t)
	good := o.release(func(s harness.Service) harness.Service { return checked(s, "/tmp/ready") })
	good = good.With(good.Services[0].Labelled(rollbackLabel, "60000"))
	o.PostTarget(harness.TargetOf(good))
	o.WaitRunning("web_2001_2_bbbb2")
	harness.Throughout(t, time.Second, "the trial", func() error {
		if app := o.Status().Apps[0]; app.Commit != "aaaa1" {
			return errors.New("current before it was healthy: " + app.Commit)
		}
		return nil
	})
	harness.MustAsk(t, o.Containers()["web"], http.MethodPut, "/file?path=/tmp/ready", "")
	o.WaitSettled(harness.Soon)
	harness.WantVersion(t, o.Containers()["web"], "v2")
}

// A service that waits for its own lock before it is healthy passes.
func TestLocksAreReleasedDuringTheTrial(t *testing.T) {
	o := newTrial(t)
	good := o.release(func(s harness.Service) harness.Service {
		return s.Composed("healthcheck", dict{"test": list{"CMD", "/main", "absent", "/tmp/balena/updates.lock"}, "interval": "200ms", "retries": 2})
	})
	o.Apply(harness.TargetOf(good.With(good.Services[0].Labelled(rollbackLabel, "15000"))))
	if n := o.CountSteps("roll back"); n != 0 {
		t.Errorf("%d roll-backs", n)
	}
}

// Killed in the middle of a trial, the supervisor goes on with it: also where the release hangs in the
// middle of its own start.
func TestTrialOutlivesTheSupervisor(t *testing.T) {
	o := newTrial(t)
	bad := o.release(func(s harness.Service) harness.Service { return checked(s, "/never") })
	bad.Services = append(bad.Services, o.image.Service("late", 3).Composed("depends_on", dict{"web": dict{"condition": "service_healthy"}}))
	o.PostTarget(harness.TargetOf(bad))
	o.WaitRunning("web_2001_2_bbbb2")
	o.Kill()
	o.Start()
	o.back("waits for web: it is ")
}

// Nothing is rolled back that did not ask for it; the configuration asks for every release.
func TestRollbackIsOffByDefaultAndOnByConfiguration(t *testing.T) {
	o := newTrial(t)
	bad := o.release(func(s harness.Service) harness.Service { return checked(s, "/never") })
	delete(bad.Services[0].Labels, rollbackLabel)
	o.PostTarget(harness.TargetOf(bad))
	o.WaitSettled(harness.Soon) // current at once, healthy or not
	if n := o.CountSteps("roll back"); n != 0 {
		t.Errorf("%d roll-backs", n)
	}
	worse := bad.Released("cccc3", 3).With(bad.Services[0].Setting("MODE", "worse"), bad.Services[1])
	o.PostTarget(harness.Target{Config: map[string]string{"BALENA_SUPERVISOR_ROLLBACK_TIMEOUT": "3000"}, Apps: []harness.App{worse}})
	harness.Until(t, harness.Soon, "the roll-back", func() error {
		if n := o.CountSteps("roll back"); n != 1 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	o.Expect(harness.TargetOf(bad))
	o.WaitSettled(harness.Soon)
}
