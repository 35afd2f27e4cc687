package strategy_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// anonymousPaths are where the service has volumes without a name: the image's, and both of a composition.
var anonymousPaths = list{"/data", "/short", "/long"}

// keeper is a service with anonymous volumes and one that has a name.
func keeper(image harness.Image) harness.Service {
	return image.Service("web", 1).Composed("volumes", list{"named:/named", "/short", dict{"type": "volume", "target": "/long"}})
}

// keeperImage is loaded, and declares a volume.
func keeperImage(t *testing.T, name string) harness.Image {
	t.Helper()
	image := harness.ServerImage(name)
	image.Volumes = []string{"/data"}
	return image.Load(t)
}

// fill writes into every anonymous volume of web and returns their names.
func fill(t *testing.T, s *harness.Supervisor) []string {
	t.Helper()
	for _, path := range anonymousPaths {
		harness.MustAsk(t, s.Containers()["web"], http.MethodPut, fmt.Sprintf("/file?path=%s/kept", path), "precious")
	}
	return anonymous(t, s)
}

// anonymous are the volumes of the engine that have no name of ours.
func anonymous(t *testing.T, s *harness.Supervisor) []string {
	t.Helper()
	var names []string
	for name := range s.Engine.Volumes(t) {
		if !strings.Contains(name, "_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// holds checks at which of the anonymous paths web has what fill wrote.
func holds(t *testing.T, s *harness.Supervisor, when string, want ...any) {
	t.Helper()
	c := s.Containers()["web"]
	harness.VersionOf(t, c) // it may just have been started
	for _, path := range anonymousPaths {
		status, body, err := harness.Ask(c, http.MethodGet, fmt.Sprintf("/file?path=%s/kept", path), "")
		if err != nil || (status == 200 && body == "precious") != slices.Contains(want, path) {
			t.Errorf("%s: %s holds %d %q, %v", when, path, status, body, err)
		}
	}
}

// docs/spec/engine.md 2.7: a container that is made again from the same image has the anonymous volumes of
// the one before; nothing is left behind when they are not wanted any more, or are to be purged.
func TestAnonymousVolumesAreHandedOn(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	image := keeperImage(t, "anonymous/app:v1")
	app := harness.Shop("aaaa1", 1, keeper(image))
	app = app.WithVolumes("named")
	s.Apply(harness.TargetOf(app))
	volumes := fill(t, s)
	if len(volumes) != 3 {
		t.Fatalf("web has the anonymous volumes %v", volumes)
	}
	kept := func(when string) {
		t.Helper()
		holds(t, s, when, anonymousPaths...)
		if now := anonymous(t, s); !slices.Equal(now, volumes) {
			t.Errorf("%s: the volumes are %v, were %v", when, now, volumes)
		}
	}
	release := 1
	set := func(mode string) {
		release++
		app = app.Released(fmt.Sprintf("bbbb%d", release), release).With(app.Services[0].Setting("MODE", mode))
	}

	set("second")
	s.Apply(harness.TargetOf(app))
	kept("after another variable")
	before := s.IDs()
	s.Restart()
	s.WaitListed()
	s.Apply(harness.TargetOf(app.Released("cccc1", 90)))
	if now := s.IDs(); now["web"] != before["web"] {
		t.Error("a container with volumes that were handed on is made again")
	}
	s.Apply(harness.TargetOf(app))
	s.Post("/v2/applications/31/restart-service", dict{"serviceName": "web"}).Want(t, 200, "OK")
	kept("after a restart of the service")
	s.Post("/v1/restart", dict{"appId": 31}).Want(t, 200, "OK")
	s.WaitSettled(harness.Soon)
	kept("after a restart of the app")

	set("third")
	n := len(s.Proxy.Times(createCall))
	s.Proxy.Spoil(createCall, harness.Hang, 0, 1)
	s.PostTarget(harness.TargetOf(app))
	s.Proxy.WaitCalls(t, harness.Soon, createCall, n+1)
	s.Kill()
	s.Proxy.Heal()
	s.Engine.Do(http.MethodDelete, "/containers/"+app.ContainerName(app.Services[0])+"?force=1", nil, nil) // should the call have gone on
	s.Start()
	s.WaitSettled(harness.Soon)
	kept("after a crash between removal and creation")

	app.Services[0] = app.Services[0].Labelled(strategyLabel, "hand-over").Labelled(handoverLabel, "500")
	s.Apply(harness.TargetOf(app))
	set("fourth")
	s.Apply(harness.TargetOf(app))
	kept("after a hand-over")

	s.Post("/v1/purge", dict{"appId": 31}).Want(t, 200, `{"Data":"OK","Error":""}`)
	s.WaitSettled(harness.Soon)
	holds(t, s, "after a purge")
	fresh := fill(t, s)
	if len(fresh) != 3 || slices.ContainsFunc(fresh, func(name string) bool { return slices.Contains(volumes, name) }) {
		t.Errorf("after a purge the volumes are %v, were %v", fresh, volumes)
	}
}

// docs/spec/engine.md 2.7: another image begins with new anonymous volumes, which the log says; volumes whose
// path, service or app goes, go too.
func TestAnonymousVolumesThatAreNotHandedOn(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	one, two := keeperImage(t, "anonymous/app:v1"), keeperImage(t, "anonymous/app:v2")
	app := harness.Shop("aaaa1", 1, keeper(one))
	app = app.WithVolumes("named")
	s.Apply(harness.TargetOf(app))
	fill(t, s)
	s.Apply(harness.TargetOf(app.Released("bbbb2", 2).With(app.Services[0].Setting("MODE", "new")))) // they are handed on
	left := func(when string, n int) {
		t.Helper()
		harness.Until(t, harness.Soon, "the volumes "+when, func() error {
			if names := anonymous(t, s); len(names) != n {
				return errors.New(strings.Join(names, " "))
			}
			return s.Settled()
		})
	}

	app = app.Released("cccc3", 3).With(app.Services[0].Setting("MODE", "new").Composed("volumes", list{"named:/named", dict{"type": "volume", "target": "/long"}}))
	s.Apply(harness.TargetOf(app))
	left("without one of the paths", 2)
	holds(t, s, "without one of the paths", "/data", "/long")
	app = app.Released("dddd4", 4).With(app.Services[0].Composed("volumes", list{"named:/data", dict{"type": "volume", "target": "/long"}}))
	s.Apply(harness.TargetOf(app))
	left("with a name for another", 1)
	holds(t, s, "with a name for another", "/long")
	if n := len(s.LogLines(lostVolumes)); n != 0 {
		t.Errorf("the log says %d times that volumes are lost", n)
	}

	app = app.Released("eeee5", 5).With(app.Services[0].Using(two.Name, 1002))
	s.Apply(harness.TargetOf(app))
	left("with another image", 1)
	holds(t, s, "with another image")
	if n := len(s.LogLines(lostVolumes)); n != 1 {
		t.Errorf("the log says %d times that volumes are lost", n)
	}

	app = app.Released("ffff6", 6).With(app.Services[0].Setting("MODE", "newer"), two.Service("db", 2))
	s.Apply(harness.TargetOf(app))
	left("with another service", 2)
	s.Apply(harness.TargetOf(app.Released("ffff7", 7).With(app.Services[1])))
	left("without a service", 1)
	s.Apply(harness.TargetOf())
	left("without the app", 0)
}

// lostVolumes is the log line about volumes that are not handed on.
const lostVolumes = "anonymous volumes are removed with their container, a volume with a name would stay"

// docs/spec/engine.md 3.1: a volume that the engine does not remove, such as one that a host's program has
// open, holds up no release.
func TestAnonymousVolumeThatTheEngineDoesNotRemove(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	one, two := keeperImage(t, "anonymous/app:v1"), keeperImage(t, "anonymous/app:v2")
	app := harness.Shop("aaaa1", 1, keeper(one))
	app = app.WithVolumes("named")
	s.Apply(harness.TargetOf(app))
	app = app.Released("bbbb2", 2).With(app.Services[0].Setting("MODE", "new"))
	s.Apply(harness.TargetOf(app)) // they are handed on
	const removal = "DELETE /volumes/{id}"
	s.Proxy.Spoil(removal, harness.Fail, 0, -1)
	s.Apply(harness.TargetOf(app.Released("cccc3", 3).With(keeper(two))))
	if len(s.Proxy.Times(removal)) == 0 {
		t.Error("no volume was to be removed")
	}
}
