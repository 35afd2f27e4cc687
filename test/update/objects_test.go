package update_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// docs/spec/engine.md 10: 46.
func TestDependencyStartsFirst(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("objects/app:v1").Load(t)
	events := s.Engine.Record(t)
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1,
		image.Service("web", 1).Composed("depends_on", []any{"cache"}),
		image.Service("cache", 2).Composed("depends_on", []any{"db"}),
		image.Service("db", 3))))
	order := []string{"db", "cache", "web"}
	for i := 1; i < len(order); i++ {
		first, then := events.Of("start", order[i-1]), events.Of("start", order[i])
		if len(first) != 1 || len(then) != 1 || first[0].TimeNano > then[0].TimeNano {
			t.Errorf("%s must start before %s: %d and %d starts", order[i-1], order[i], len(first), len(then))
		}
	}
}

// supervisedLabels are the labels of a service's container.
func supervisedLabels(app int, id int, name string) map[string]string {
	return map[string]string{"io.balena.supervised": "true", "io.balena.app-id": fmt.Sprint(app),
		"io.balena.app-uuid": fmt.Sprint(app), "io.balena.service-id": fmt.Sprint(id), "io.balena.service-name": name}
}

// docs/spec/engine.md 10: 42, 54.
func TestStraysOfOursGoAndForeignObjectsStay(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("objects/app:v1").Load(t)
	e := s.Engine
	e.Must(t, http.MethodPost, "/networks/create", map[string]any{"Name": "foreign"}, nil)
	e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": "foreign"}, nil)
	e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": "x31_data"}, nil)
	foreign := e.StartContainer(t, "foreign", map[string]any{"Image": harness.ServerImage("objects/foreign:v1").Load(t).Name})
	stray := e.StartContainer(t, "ghost_1_1_dead0", map[string]any{"Image": image.Name, "Labels": supervisedLabels(77, 5, "ghost")})
	unknown := e.StartContainer(t, "extra_1009_1_aaaa1", map[string]any{"Image": image.Name, "Labels": supervisedLabels(31, 9, "extra")})
	twin := e.StartContainer(t, "web_999_1_aaaa1", map[string]any{"Image": image.Name, "Labels": supervisedLabels(31, 1, "web")})

	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1))))
	for _, c := range []harness.Container{stray, unknown, twin} {
		if err := e.Gone(c.ID); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	late := e.StartContainer(t, "web_998_1_aaaa1", map[string]any{"Image": image.Name, "Labels": supervisedLabels(31, 1, "web")})
	harness.Until(t, harness.Soon, "one container of web", func() error {
		all, err := e.Supervised()
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d containers", len(all))
		}
		return err
	})
	s.Apply(harness.TargetOf(harness.Shop("bbbb2", 2, image.Service("web", 1))))
	if err := e.Gone(late.ID); err != nil && s.Containers()["web"].ID == late.ID {
		t.Error("the second container was taken for the service's own although its definition differs")
	}
	s.Apply(harness.TargetOf())
	if c, err := e.Container("foreign"); err != nil || c.ID != foreign.ID || c.State.StartedAt != foreign.State.StartedAt {
		t.Errorf("the foreign container was touched: %v", err)
	}
	if _, found := e.Network(t, "foreign"); !found {
		t.Error("the foreign network is gone")
	}
	for _, name := range []string{"foreign", "x31_data"} {
		if _, found := e.Volumes(t)[name]; !found {
			t.Errorf("the foreign volume %s is gone", name)
		}
	}
}

// docs/spec/engine.md 1.7: an image that cannot be removed is kept and tried later; it is no failure of
// the update.
func TestImageUsedByAForeignContainerDoesNotKeepTheDeviceFromSettling(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	old, image := harness.ServerImage("objects/borrowed:v1").Load(t), harness.ServerImage("objects/app:v1").Load(t)
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, old.Service("web", 1))))
	s.Engine.StartContainer(t, "borrower", map[string]any{"Image": old.Name})
	s.PostTarget(harness.TargetOf(harness.Shop("bbbb2", 2, image.Service("web", 1))))
	s.WaitSettled(10 * time.Second)
	if err := s.Engine.Running("borrower"); err != nil {
		t.Error(err)
	}
}

// docs/spec/engine.md 10: 39, 40.
func TestVolumeStaysAndNetworkGoesWhenDropped(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("objects/app:v1").Load(t)
	first := harness.Shop("aaaa1", 1, image.Service("web", 1).Composed("volumes", []any{"data:/data"}).Composed("networks", []any{"back"}))
	first = first.WithVolumes("data")
	first.Networks = map[string]any{"back": map[string]any{}}
	second := other("good1", 5, image.Service("ok", 7))
	s.Apply(harness.TargetOf(first, second))
	harness.MustAsk(t, s.Containers()["web"], http.MethodPut, "/file?path=/data/kept", "precious")
	created := s.Engine.Volumes(t)["31_data"].CreatedAt

	bare := harness.Shop("bbbb2", 2, image.Service("web", 1))
	s.Apply(harness.TargetOf(bare, second))
	if v, found := s.Engine.Volumes(t)["31_data"]; !found || v.CreatedAt != created {
		t.Error("the volume dropped from the release is gone or new")
	}
	harness.Until(t, harness.Soon, "removal of the dropped network", func() error {
		if _, found := s.Engine.Network(t, "31_back"); found {
			return fmt.Errorf("31_back is still there")
		}
		return nil
	})
	s.Apply(harness.TargetOf(first.Released("cccc3", 3), second))
	if got := harness.MustAsk(t, s.Containers()["web"], http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
		t.Errorf("the volume holds %q when it is used again", got)
	}

	// Without a cloud the device is in local mode, which never removes data (docs/spec/cloud.md 8.4).
	s.Apply(harness.TargetOf(second))
	harness.Until(t, harness.Soon, "removal of the app's networks", func() error {
		for _, n := range s.Engine.Networks(t) {
			if n.Labels["io.balena.app-id"] == "31" {
				return fmt.Errorf("network %s is still there", n.Name)
			}
		}
		return nil
	})
	s.Apply(harness.TargetOf(first.Released("dddd4", 4), second))
	if got := harness.MustAsk(t, s.Containers()["web"], http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
		t.Errorf("the volume holds %q after its app was away", got)
	}
}

func TestContainerRemovedBehindOurBackIsRecreated(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("objects/app:v1").Load(t)
	s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1), image.Service("db", 2))))
	before := s.IDs()
	s.Engine.Must(t, http.MethodDelete, "/containers/"+before["web"]+"?force=1", nil, nil)
	harness.Until(t, 10*time.Second, "a new container", func() error { return s.Engine.Running("web_1001_1_aaaa1") })
	s.WaitSettled(harness.Soon)
	if s.IDs()["db"] != before["db"] {
		t.Error("db was recreated too")
	}
}

// docs/spec/engine.md 10: 35.
func TestDeletedSupervisorNetworkComesBackOnTheNextApply(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("objects/app:v1").Load(t)
	plain := harness.Shop("aaaa1", 1, image.Service("web", 1))
	s.Apply(harness.TargetOf(plain))
	network, found := s.Engine.Network(t, "supervisor0")
	if !found {
		t.Fatal("supervisor0 is missing")
	}
	s.Engine.Must(t, http.MethodDelete, "/networks/"+network.ID, nil, nil)
	s.Apply(harness.TargetOf(plain.Released("bbbb2", 2)))
	if _, found := s.Engine.Network(t, "supervisor0"); !found {
		t.Error("supervisor0 did not come back")
	}
}

// docs/spec/engine.md 10: 50.
func TestExitedOneshotIsNotStartedAgain(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	e := s.Engine
	once := harness.OneshotImage("objects/once:v1").LoadInto(t, e)
	image := harness.ServerImage("objects/app:v1").Load(t)
	job := once.Service("job", 2).Composed("restart", "no").Setting("EXIT_CODE", "3")
	first := harness.Shop("aaaa1", 1, image.Service("web", 1), job)
	s.Apply(harness.TargetOf(first))
	before := exited(t, s, "job", 3)
	s.Apply(harness.TargetOf(first.Released("bbbb2", 2)))
	if after := exited(t, s, "job", 3); after.ID != before.ID || after.State.StartedAt != before.State.StartedAt {
		t.Error("the finished job ran again without a new definition")
	}
	s.Apply(harness.TargetOf(first.Released("cccc3", 3).With(first.Services[0], job.Setting("EXIT_CODE", "4"))))
	exited(t, s, "job", 4)
}

// exited waits until a service has ended with a code.
func exited(t *testing.T, s *harness.Supervisor, name string, code int) harness.Container {
	t.Helper()
	var c harness.Container
	harness.Until(t, harness.Soon, name+" to end", func() error {
		c = s.Containers()[name]
		if c.State.Status != "exited" || c.State.ExitCode != code {
			return fmt.Errorf("%s with code %d", c.State.Status, c.State.ExitCode)
		}
		return nil
	})
	return c
}

// docs/spec/engine.md 10: 51.
func TestStoppedServiceIsCreatedOrStoppedButNotRemoved(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	image := harness.ServerImage("objects/app:v1").Load(t)
	idle := image.Service("idle", 2)
	idle.Stopped = true
	first := harness.Shop("aaaa1", 1, image.Service("web", 1), idle)
	s.Apply(harness.TargetOf(first))
	if got := s.Containers()["idle"].State.Status; got != "created" {
		t.Errorf("a service that shall not run is %s", got)
	}
	before := s.IDs()
	halted := first.Services[0]
	halted.Stopped = true
	s.PostTarget(harness.TargetOf(first.With(halted, idle)))
	harness.Until(t, harness.Soon, "web to stop", func() error {
		if got := s.Containers()["web"].State.Status; got != "exited" {
			return fmt.Errorf("web is %s", got)
		}
		return nil
	})
	sameIDs(t, s, before)
}
