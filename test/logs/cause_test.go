package logs_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

const startCall = "POST /containers/{id}/start"

// taken is a TCP port, any for 0, that a program of the host has until it is closed.
func taken(t *testing.T, number string) (port string, free func()) {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:"+number)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, func() { _ = l.Close() }
}

// about are the messages that begin so, about one service.
func about(s *harness.Supervisor, begin, service string) (found []string) {
	for _, said := range s.DeviceLog() {
		if strings.HasPrefix(said, begin+" '"+service+" ") {
			found = append(found, said)
		}
	}
	return found
}

// once fails the test unless a service failed for one cause so far, which was said once, as was its start.
func once(t *testing.T, s *harness.Supervisor, service, cause string) {
	t.Helper()
	begun := about(s, "Starting service", service)
	failed := about(s, "Failed to start service", service)
	if len(begun) != 1 || len(failed) != 1 || !strings.Contains(failed[0], " due to 'start container") || !strings.Contains(failed[0], cause) {
		t.Errorf("%s: said %q %q, want one cause %s", service, begun, failed, cause)
	}
}

// cloud.md 5.5: why a service cannot start is said once for each cause, and not at each try; a new target
// has it said again.
func TestWhyAServiceCannotStart(t *testing.T) {
	s, _ := harness.NewManaged(t, harness.Setup{WithProxy: true})
	image := harness.ServerImage("cause/app:v1").Load(t)
	one, freeOne := taken(t, "0")
	two, freeTwo := taken(t, "0")
	freeTwo() // of two that are taken the engine names either
	app := shop(image.Service("program", 1).Composed("entrypoint", []any{"/not-there"}),
		image.Service("device", 2).Composed("devices", []any{"/dev/not-there:/dev/x"}),
		image.Service("port", 3).Composed("ports", []any{one + ":80", two + ":81"}))
	s.Assign(harness.TargetOf(app))
	s.Start()
	s.Proxy.WaitCalls(t, harness.Soon, startCall, len(s.Proxy.Times(startCall))+12) // several of each service that cannot start
	for service, cause := range map[string]string{"program": "/not-there", "device": "/dev/not-there", "port": "address already in use"} {
		harness.Until(t, harness.Soon, "the cause of "+service, func() error {
			if len(about(s, "Failed to start service", service)) == 0 {
				return fmt.Errorf("%q", s.DeviceLog())
			}
			return nil
		})
		once(t, s, service, cause)
	}

	_, freeTwo = taken(t, two)
	freeOne()
	harness.Until(t, harness.Soon, "another cause", func() error {
		if failed := about(s, "Failed to start service", "port"); len(failed) != 2 || !strings.Contains(failed[1], two) {
			return fmt.Errorf("said %q", failed)
		}
		return nil
	})
	freeTwo()
	harness.Until(t, harness.Soon, "the start", func() error {
		if done := about(s, "Started service", "port"); len(done) != 1 {
			return fmt.Errorf("said %q", done)
		}
		return nil
	})
	if n := len(about(s, "Failed to start service", "port")); n != 2 {
		t.Errorf("the cause was said %d times", n)
	}
	s.Assign(harness.TargetOf(app.Released("c0ffee02", 89)))
	s.PollNow()
	harness.Until(t, harness.Soon, "the cause once more", func() error {
		if failed := about(s, "Failed to start service", "program"); len(failed) != 2 {
			return fmt.Errorf("said %q", failed)
		}
		return nil
	})
}

// cloud.md 5.5: the same of a container beside the old one, which is recreated for each try.
func TestWhyAHandOverFails(t *testing.T) {
	image := harness.ServerImage("cause/app:v1").Load(t)
	web := image.Service("web", 1).Labelled("io.balena.update.strategy", "hand-over")
	s := managed(t, &fakecloud.Cloud{}, nil, web)
	harness.Until(t, harness.Soon, "the first release in the log", func() error {
		if len(about(s, "Started service", "web")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	failures := func() int {
		n := 0
		for _, line := range s.LogLines("step did not succeed") {
			if line["step"] == "handover" {
				n++
			}
		}
		return n
	}
	s.Assign(harness.TargetOf(shop(web.Composed("entrypoint", []any{"/not-there"})).Released("c0ffee02", 89)))
	s.PollNow()
	harness.Until(t, harness.Soon, "tries", func() error {
		if n := failures(); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if n := len(about(s, "Installing service", "web")); n != 2 {
		t.Errorf("it said %d times that it installs the service", n)
	}
	if failed := about(s, "Failed to start service", "web"); len(failed) != 1 || !strings.Contains(failed[0], "/not-there") {
		t.Errorf("said %q", failed)
	}
}

// cloud.md 5.5, 2.5: a container of somebody else that has the name of ours.
func TestNameOfAForeignContainer(t *testing.T) {
	engine := harness.SharedEngine(t)
	image := harness.ServerImage("cause/app:v1").Load(t)
	app := shop(image.Service("web", 1))
	name := app.ContainerName(app.Services[0])
	engine.Must(t, http.MethodPost, "/containers/create?name="+name, map[string]any{"Image": image.Name}, nil)
	s := harness.NewSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	target := harness.TargetOf(app)
	s.Assign(target)
	s.Start()
	harness.Until(t, harness.Soon, "the cause", func() error {
		failed := about(s, "Failed to install service", "web")
		if len(failed) != 1 || !strings.Contains(failed[0], "the container "+name+" is not the supervisor's: remove or rename it") {
			return fmt.Errorf("said %q", s.DeviceLog())
		}
		return nil
	})
	engine.Must(t, http.MethodPost, "/containers/"+name+"/rename?name=somebodys", nil, nil)
	s.WaitSettled(harness.Soon)
}

// engine.md 2.5: two apps that were made from one template cannot be on the device together. That is said once
// and names both; what runs stays, and both run once one of them was changed.
func TestTwoAppsOfOneTemplate(t *testing.T) {
	image := harness.ServerImage("cause/app:v1").Load(t)
	one := shop(image.Service("web", 1))
	s := managed(t, &fakecloud.Cloud{}, nil, one.Services...)
	id := s.Containers()["web"].ID
	two := one
	two.ID, two.UUID, two.Name = 32, "6bb0c0ffee6bb0c0ffee6bb0c0ffee62", "copy"
	s.Assign(harness.TargetOf(one, two))
	s.PollNow()
	const text = "Could not move to new release: apps shop (uuid 5aa0c0ffee5aa0c0ffee5aa0c0ffee51) and copy (uuid 6bb0c0ffee6bb0c0ffee6bb0c0ffee62) " +
		"both have the container web_1001_88_c0ffee01: give one of them another id, and its release another id or commit"
	s.WaitLogged(text, 1)
	s.WaitOverview(harness.Soon, "both have the container web_1001_88_c0ffee01")
	s.Restart()
	s.WaitLogged(text, 2)
	if now := s.Containers()["web"]; now.ID != id || !now.State.Running {
		t.Errorf("what ran is %+v", now)
	}
	if failed := about(s, "Failed to install service", "web"); len(failed) > 0 {
		t.Errorf("said %q", failed)
	}
	two = two.Released("c0ffee01", 89)
	s.Assign(harness.TargetOf(one, two))
	s.PollNow()
	harness.Until(t, harness.Soon, "both apps", func() error {
		all, err := s.Engine.Supervised()
		if err == nil && len(all) != 2 {
			err = fmt.Errorf("%d containers", len(all))
		}
		return err
	})
	s.Expect(harness.TargetOf(one, two))
	s.WaitSettled(harness.Soon)
}
