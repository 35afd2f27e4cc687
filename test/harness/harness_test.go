package harness

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// run starts a container of an image by hand.
func run(t *testing.T, e *Engine, image, name string, more map[string]any) Container {
	t.Helper()
	body := map[string]any{"Image": image}
	for k, v := range more {
		body[k] = v
	}
	return e.StartContainer(t, name, body)
}

func TestServerImageRunsInTheEngine(t *testing.T) {
	e := SharedEngine(t)
	image := ServerImage("harness/app:v7").LoadInto(t, e)
	c := run(t, e, image.Name, "one", map[string]any{"Labels": map[string]string{"io.balena.service-name": "web"}})
	if got := MustAsk(t, c, "GET", "/version", ""); got != "v7" {
		t.Errorf("version %q, want v7", got)
	}
	if c.Service() != "web" || c.Env("VERSION") != "v7" || !c.HasEnv("PATH") {
		t.Errorf("container reads back as %+v", c.Config)
	}
	MustAsk(t, c, "PUT", "/file?path=/data/x", "hello")
	if got := MustAsk(t, c, "GET", "/file?path=/data/x", ""); got != "hello" {
		t.Errorf("file holds %q", got)
	}
	if status, body := FetchFrom(t, c, "GET", "http://127.0.0.1:8080/version"); status != 200 || body != "v7" {
		t.Errorf("fetch answered %d %q", status, body)
	}
}

func TestOneshotExitsWithItsCode(t *testing.T) {
	e := SharedEngine(t)
	image := OneshotImage("harness/once:v1").LoadInto(t, e)
	run(t, e, image.Name, "once", map[string]any{"Env": []string{"EXIT_CODE=3"}})
	Until(t, 10*time.Second, "exit", func() error {
		c, err := e.Container("once")
		if err == nil && (c.State.Status != "exited" || c.State.ExitCode != 3) {
			err = fmt.Errorf("%s with %d", c.State.Status, c.State.ExitCode)
		}
		return err
	})
}

func TestPullFromRegistryByTagAndDigest(t *testing.T) {
	e, r := SharedEngine(t), SharedRegistry(t)
	tagged := r.Push(t, ServerImage("harness/tagged:v1").WithBlob(100_000))
	digest := r.PushDigest(t, ServerImage("harness/digest:v1"))
	for _, ref := range []string{tagged.Name, digest.Name} {
		e.Pull(t, ref)
		if e.ImageID(t, ref) == "" {
			t.Errorf("%s is not there after the pull", ref)
		}
		e.RemoveImage(t, ref)
		if e.ImageID(t, ref) != "" {
			t.Errorf("%s is still there after its removal", ref)
		}
	}
}

func TestImagesOfOneContentShareTheirID(t *testing.T) {
	e := SharedEngine(t)
	one := ServerImage("harness/one:v1").LoadInto(t, e)
	same := one.SameAs("harness/same:v1").LoadInto(t, e)
	other := ServerImage("harness/other:v1").LoadInto(t, e)
	if e.ImageID(t, one.Name) != e.ImageID(t, same.Name) || e.ImageID(t, one.Name) == e.ImageID(t, other.Name) {
		t.Errorf("ids are %s, %s, %s", e.ImageID(t, one.Name), e.ImageID(t, same.Name), e.ImageID(t, other.Name))
	}
}

func TestThrottleSlowsCountsAndStalls(t *testing.T) {
	e, r := SharedEngine(t), SharedRegistry(t)
	image := r.Push(t, ServerImage("harness/slow:v1").WithBlob(400_000))
	net := r.Slow(t, 200_000)
	slow := net.Of(image)
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- e.TryPull(slow.Name) }()
	Until(t, 10*time.Second, "first bytes", func() error {
		if net.Bytes() < 100_000 {
			return fmt.Errorf("%d bytes", net.Bytes())
		}
		return nil
	})
	net.Stall()
	before := net.Bytes()
	Throughout(t, 400*time.Millisecond, "stall", func() error {
		// What was on its way at the moment of the stall may still pass.
		if more := net.Bytes() - before; more > 40_000 {
			return fmt.Errorf("%d bytes more", more)
		}
		return nil
	})
	net.Resume()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("400 kB at 200 kB/s took %v", took)
	}
	if net.Bytes() < 400_000 {
		t.Errorf("%d bytes counted", net.Bytes())
	}
	e.RemoveImage(t, slow.Name)
}

func TestEngineSurvivesKillWithItsData(t *testing.T) {
	e := SharedEngine(t)
	image := ServerImage("harness/app:v7").LoadInto(t, e)
	run(t, e, image.Name, "kept", map[string]any{"HostConfig": map[string]any{"RestartPolicy": map[string]any{"Name": "always"}}})
	e.Kill(t)
	if _, err := e.Container("kept"); err == nil {
		t.Error("the killed engine still answers")
	}
	e.Start(t)
	Until(t, 15*time.Second, "restart by policy", func() error {
		c, err := e.Container("kept")
		if err == nil && !c.State.Running {
			err = errors.New(c.State.Status)
		}
		return err
	})
	e.Stop(t)
	e.Start(t)
	if e.ImageID(t, image.Name) == "" {
		t.Error("the image is gone after a restart")
	}
}

func TestRecorderSeesContainerEvents(t *testing.T) {
	e := SharedEngine(t)
	image := OneshotImage("harness/once:v1").LoadInto(t, e)
	r := e.Record(t)
	run(t, e, image.Name, "seen", map[string]any{"Labels": map[string]string{"io.balena.service-name": "job"}})
	Until(t, 10*time.Second, "events", func() error {
		if len(r.Of("create", "job")) != 1 || len(r.Of("die", "job")) != 1 {
			return fmt.Errorf("%+v", r.Events("container", ""))
		}
		return nil
	})
	if r.Of("create", "job")[0].TimeNano >= r.Of("die", "job")[0].TimeNano {
		t.Error("events out of order")
	}
}

func TestProxyCountsAndSpoils(t *testing.T) {
	e := SharedEngine(t)
	p := NewProxy(t, e)
	client := &http.Client{Transport: unixTransport(p.Socket)}
	get := func() (int, error) {
		res, err := client.Get("http://engine/v1.41/containers/json")
		if err != nil {
			return 0, err
		}
		res.Body.Close()
		return res.StatusCode, nil
	}
	if status, err := get(); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	if n := p.Counts()["GET /containers/json"]; n != 1 {
		t.Errorf("%d calls counted", n)
	}
	p.Spoil("GET /containers/*", Fail, 1, 1)
	for i, want := range []int{200, 500, 200} {
		if status, err := get(); status != want || err != nil {
			t.Errorf("call %d: %d %v, want %d", i, status, err, want)
		}
	}
	p.Spoil("GET /containers/json", Reset, 0, -1)
	if _, err := get(); err == nil {
		t.Error("a reset call was answered")
	}
	p.Heal()
	if status, err := get(); status != 200 {
		t.Error(status, err)
	}
}

func TestProxyMutesEventStream(t *testing.T) {
	e := SharedEngine(t)
	p := NewProxy(t, e)
	p.Spoil("GET /events", Mute, 0, 1)
	res, err := (&http.Client{Transport: unixTransport(p.Socket)}).Get("http://engine/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	read := make(chan error, 1)
	go func() {
		_, err := res.Body.Read(make([]byte, 1))
		read <- err
	}()
	e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": "noise"}, nil)
	select {
	case err := <-read:
		t.Fatalf("the muted stream ended or spoke: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	p.Cut()
	if err := <-read; err == nil {
		t.Error("the stream spoke after the cut")
	}
}

func TestCallName(t *testing.T) {
	f := func(method, path, want string) {
		t.Helper()
		if got := CallName(method, path); got != want {
			t.Errorf("%s %s is named %q, want %q", method, path, got, want)
		}
	}
	f("GET", "/v1.41/containers/json", "GET /containers/json")
	f("GET", "/v1.41/containers/abc/json", "GET /containers/{id}/json")
	f("POST", "/containers/create", "POST /containers/create")
	f("DELETE", "/v1.41/volumes/5_data", "DELETE /volumes/{id}")
	f("GET", "/volumes", "GET /volumes")
	f("GET", "/v1.41/images/127.0.0.1:5/a/b:c/json", "GET /images/{id}/json")
	f("DELETE", "/images/a/b:c", "DELETE /images/{id}")
	f("POST", "/images/create", "POST /images/create")
	f("GET", "/version", "GET /version")
	f("GET", "/events", "GET /events")
}

func TestDeviceDirectoriesShareTheLockRoot(t *testing.T) {
	s := NewSupervisor(t, Setup{Binary: "/bin/true"})
	s.WriteFile("root/tmp/balena-supervisor/probe", "x")
	var host, device syscall.Stat_t
	if err := syscall.Stat(lockRoot+"/probe", &host); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Stat(s.Path("root", lockRoot, "probe"), &device); err != nil {
		t.Fatal(err)
	}
	if host.Ino != device.Ino {
		t.Error("the two lock directories are not the same")
	}
}

func TestTargetForms(t *testing.T) {
	app := App{ID: 7, UUID: "u", Name: "shop", Commit: "c1", Release: 3}.With(
		Service{ID: 1, Name: "web", ImageID: 4, Image: "i:1"}.Setting("A", "b").Composed("restart", "no"))
	target := Target{Apps: []App{app}}
	web := target.V2()["local"].(map[string]any)["apps"].(map[string]any)["7"].(map[string]any)["services"].(map[string]any)["1"].(map[string]any)
	if web["restart"] != "no" || web["imageId"] != 4 || web["environment"].(map[string]string)["A"] != "b" {
		t.Errorf("v2 service is %v", web)
	}
	release := target.V3()["apps"].(map[string]any)["u"].(map[string]any)["releases"].(map[string]any)["c1"].(map[string]any)
	if release["id"] != 3 || release["services"].(map[string]any)["web"] == nil {
		t.Errorf("v3 release is %v", release)
	}
	if got := app.ContainerName(app.Services[0]); got != "web_4_3_c1" {
		t.Errorf("container name %q", got)
	}
}
