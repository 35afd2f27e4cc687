package image_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// nameless puts an image without tag and digest on the engine, as a build leaves it behind, and
// returns its id.
func nameless(t *testing.T, e *harness.Engine, name string) string {
	t.Helper()
	i := harness.ServerImage(name).WithBlob(1000).LoadInto(t, e)
	id := e.ImageID(t, i.Name)
	// The name goes on to another image; a name that is removed would take the image with it.
	harness.ServerImage(name).WithBlob(1000).LoadInto(t, e)
	t.Cleanup(func() { e.RemoveImage(t, id); e.RemoveImage(t, name) })
	return id
}

// engine.md 83: what nobody named is removed, and so are other versions of the agent; what has a name
// or is used by anybody stays, and nothing is forced.
func TestCleanUp(t *testing.T) {
	engine, registry := harness.SharedEngine(t), harness.SharedRegistry(t)
	dangling, used := nameless(t, engine, "clean/dangling:v1"), nameless(t, engine, "clean/used:v1")
	var made struct{ Id string }
	engine.Must(t, http.MethodPost, "/containers/create?name=foreign", map[string]any{"Image": used}, &made)

	former := harness.ServerImage("balena/amd64-supervisor:v1").Load(t)
	older := harness.ServerImage("resin/amd64-supervisor:v0").Load(t)
	own := harness.ServerImage("balena/amd64-supervisor:v2").Load(t)
	digestOnly := registry.PushDigest(t, harness.ServerImage("clean/digest:v1").WithBlob(1000))
	engine.Pull(t, digestOnly.Name)
	present(t, engine, dangling)
	stays := []string{own.Name, digestOnly.Name, "clean/dangling:v1", used}

	s := harness.NewSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}, Env: map[string]string{"SUPERVISOR_IMAGE": own.Name}})
	begin(t, s, shop(1, registry.Push(t, harness.ServerImage("clean/web:v1")).Service("web", 1)))
	s.WaitSettled(harness.Soon)
	awaitGone(t, engine, dangling, former.Name, older.Name)
	present(t, engine, stays...)
	if _, err := engine.Container(made.Id); err != nil {
		t.Errorf("the foreign container: %v", err)
	}
	refused := s.LogLines("image stays for now, something else uses it")
	if len(refused) != 1 || refused[0]["image"] != used {
		t.Errorf("refusals: %v, want one for %s", refused, used)
	}
	// What comes later is removed when it comes.
	later := nameless(t, engine, "clean/later:v1")
	awaitGone(t, engine, later)
	if n := len(s.LogLines("image stays for now, something else uses it")); n != 1 {
		t.Errorf("a refused image was tried %d times", n)
	}
	// engine.md 83: with the next target it is tried again.
	engine.Must(t, http.MethodDelete, "/containers/"+made.Id, nil, nil)
	retarget(t, s, shop(2, registry.Push(t, harness.ServerImage("clean/web:v1")).Service("web", 1)))
	awaitGone(t, engine, used)
	s.Stop() // it would remove what the test is about to take away
}

// engine.md 83: where people work on the engine, in local mode and on a device without a cloud,
// nothing of theirs is removed.
func TestNoCleanUpWithoutACloud(t *testing.T) {
	engine := harness.SharedEngine(t)
	dangling := nameless(t, engine, "clean/mine:v1")
	former := harness.ServerImage("balena/amd64-supervisor:v1").Load(t)
	s := harness.StartSupervisor(t, harness.Setup{Env: map[string]string{"SUPERVISOR_IMAGE": "balena/amd64-supervisor:v2"}})
	image := harness.ServerImage("clean/local:v1").Load(t)
	for release := 1; release < 3; release++ {
		s.Apply(shop(release, image.Service("web", 1)))
	}
	present(t, engine, dangling, former.Name)
	if strings.Contains(s.Log(), `"clean up"`) {
		t.Error("a clean-up was tried")
	}
}

// engine.md 21, 3.1: the volume of extra firmware is made and the host told of it when a service asks
// for it, and not before.
func TestExtraFirmware(t *testing.T) {
	engine := harness.SharedEngine(t)
	image := harness.ServerImage("clean/firmware:v1").Load(t)
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"os": map[string]any{"fan": map[string]any{"profile": "cool"}}}})
	plain := image.Service("web", 1)
	s.Apply(shop(1, plain))
	if strings.Contains(s.ReadFile("boot/config.json"), "extraFirmwareVol") {
		t.Error("the host was told without need")
	}
	s.Apply(shop(2, plain.Labelled("io.balena.features.extra-firmware", "1")))
	volume, found := engine.Volumes(t)["extra-firmware"]
	if !found || len(volume.Labels) != 0 || volume.Driver != "local" {
		t.Errorf("volume extra-firmware: %v %+v", found, volume)
	}
	if config := []byte(s.ReadFile("boot/config.json")); !bytes.Contains(config, []byte(`"kernel":{"extraFirmwareVol":"extra-firmware"}`)) ||
		!bytes.Contains(config, []byte(`"profile":"cool"`)) {
		t.Errorf("config.json is %s", config)
	}
	harness.MustAsk(t, s.Containers()["web"], http.MethodPut, "/file?path=/extra-firmware/blob", "x")
	before := s.IDs()["web"]
	s.Restart()
	s.WaitSettled(harness.Soon)
	if s.IDs()["web"] != before {
		t.Error("the container was recreated after a restart")
	}
	if n := s.CountSteps("prepare volume"); n != 2 {
		t.Errorf("the volume was prepared %d times, want once for each start of the agent", n)
	}
}
