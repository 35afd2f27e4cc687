package strategy_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// absent is nil while a service has no container.
func absent(s *harness.Supervisor, name string) error {
	all, err := s.Engine.Supervised()
	for _, c := range all {
		if c.Service() == name {
			return errors.New(c.Name + " is there")
		}
	}
	return err
}

// engine.md 46: service_started: created after the dependency was started; one that keeps crashing
// does not block.
func TestStartedDependency(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image, crash := harness.ServerImage("order/app:v1").Load(t), harness.OneshotImage("order/crash:v1").Load(t)
	events := s.Engine.Record(t)
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1,
		image.Service("a", 1).Composed("depends_on", list{"b", "crash"}),
		image.Service("b", 2).Composed("depends_on", dict{"c": dict{"condition": "service_started"}}),
		image.Service("c", 3),
		crash.Service("crash", 4).Setting("EXIT_CODE", "1"))))
	for _, pair := range [][2]string{{"c", "b"}, {"b", "a"}, {"crash", "a"}} {
		if at(t, events, "create", pair[1]) < at(t, events, "start", pair[0]) {
			t.Errorf("%s was created before %s was started", pair[1], pair[0])
		}
	}
}

// service_healthy (engine.md 46, docs/spec/engine.md 12).
func TestHealthyDependency(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("order/app:v1").Load(t)
	app := harness.Shop("aaaa1", 1,
		checked(image.Service("db", 1), "/tmp/ready"),
		image.Service("web", 2).Composed("depends_on", dict{"db": dict{"condition": "service_healthy"}}),
		image.Service("free", 3).Composed("depends_on", dict{"db": dict{"condition": "service_healthy", "required": false}}))
	events := s.Engine.Record(t)
	s.PostTarget(harness.TargetOf(app))
	s.WaitRunning("db_1001_1_aaaa1", "free_1003_1_aaaa1")
	harness.Until(t, harness.Soon, "db to be unhealthy", func() error {
		if c := s.Status().Apps[0].Containers; len(c) == 0 || c[0].Health != "unhealthy" {
			return fmt.Errorf("%v", c)
		}
		return nil
	})
	harness.Throughout(t, time.Second, "the wait of web", func() error { return absent(s, "web") })
	db, err := s.Engine.Container("db_1001_1_aaaa1")
	if err != nil {
		t.Fatal(err)
	}
	harness.MustAsk(t, db, http.MethodPut, "/file?path=/tmp/ready", "")
	s.WaitSettled(harness.Soon)
	if at(t, events, "create", "web") < at(t, events, "health_status: healthy", "db") {
		t.Error("web was created before db was healthy")
	}
	// Once it runs, a dependency that falls ill takes nobody down.
	before := s.IDs()
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2)))
	if after := s.IDs(); after["web"] != before["web"] || after["db"] != before["db"] {
		t.Error("containers were recreated")
	}
}

// service_completed_successfully (docs/spec/engine.md 12).
func TestCompletedDependency(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image, once := harness.ServerImage("order/app:v1").Load(t), harness.OneshotImage("order/once:v1").Load(t)
	job := once.Service("job", 1).Composed("restart", "no").Setting("EXIT_CODE", "3")
	web := image.Service("web", 2).Composed("depends_on", dict{"job": dict{"condition": "service_completed_successfully"}})
	app := harness.Shop("aaaa1", 1, job, web)
	events := s.Engine.Record(t)
	s.PostTarget(harness.TargetOf(app))
	harness.Until(t, harness.Soon, "the end of the job", func() error {
		if len(events.Of("die", "job")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	harness.Throughout(t, time.Second, "the wait of web", func() error { return absent(s, "web") })
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2).With(job.Setting("EXIT_CODE", "0"), web)))
	ends := events.Of("die", "job")
	if len(ends) != 2 || at(t, events, "create", "web") < ends[1].TimeNano {
		t.Errorf("%d ends of the job; web was created before the good one", len(ends))
	}
}
