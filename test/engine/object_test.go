package engine

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
)

func TestContainerLife(t *testing.T) {
	c, _ := bed(t)
	ctx := t.Context()
	body := script(forever)
	body.Labels = map[string]string{"a": "1", "b": "2"}
	body.HostConfig.RestartPolicy.Name = "always"
	id := create(t, c, "life", body)
	harness.Must(t, c.StartContainer(ctx, id), c.StartContainer(ctx, id)) // running already is fine
	got, err := c.Container(ctx, "life")
	harness.Must(t, err)
	if got.Id != id || got.Name != "/life" || !got.State.Running || got.Config.Labels["a"] != "1" || got.Created.IsZero() {
		t.Errorf("%+v", got)
	}
	harness.Must(t, c.UpdateContainer(ctx, id, &doc.ContainerUpdate{RestartPolicy: doc.RestartPolicy{Name: "no"}}))
	harness.Must(t, c.RenameContainer(ctx, id, "afterlife"))
	wantStatus(t, "rename to the same", c.RenameContainer(ctx, id, "afterlife"), http.StatusBadRequest)
	wantStatus(t, "remove running", c.RemoveContainer(ctx, id, false), http.StatusConflict)
	wantStop(t, c, id, http.StatusNoContent)
	wantStop(t, c, id, http.StatusNotModified)
	got, err = c.Container(ctx, "afterlife")
	harness.Must(t, err)
	if got.State.Running || got.HostConfig.RestartPolicy.Name != "no" {
		t.Errorf("%+v", got)
	}
	harness.Must(t, c.RemoveContainer(ctx, id, false), c.RemoveContainer(ctx, id, true))
	wantStop(t, c, id, http.StatusNotFound)
	if _, err := c.Container(ctx, id); !engine.IsNotFound(err) {
		t.Error(err)
	}
}

// wantStop stops a container and checks what the engine said of it.
func wantStop(t *testing.T, c *engine.Client, id string, want int) {
	t.Helper()
	status, err := c.StopContainer(t.Context(), id)
	harness.Must(t, err)
	if status != want {
		t.Errorf("stop %s: status %d, want %d", id, status, want)
	}
}

func TestContainersByLabel(t *testing.T) {
	c, _ := bed(t)
	for name, labels := range map[string]map[string]string{"l0": nil, "l1": {"a": "1"}, "l2": {"a": "1", "b": "&=2"}} {
		body := script("exit")
		body.Labels = labels
		create(t, c, name, body)
	}
	f := func(want string, labels ...string) {
		t.Helper()
		list, err := c.Containers(t.Context(), labels...)
		harness.Must(t, err)
		var names []string
		for _, s := range list {
			names = append(names, strings.TrimPrefix(s.Names[0], "/"))
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: got %s, want %s", labels, got, want)
		}
	}
	f("l0 l1 l2")
	f("l1 l2", "a")
	f("l2", "a=1", "b")
	f("l2", "b=&=2")
	f("", "a=2")
}

func TestStopTakesTheContainersOwnTime(t *testing.T) {
	c, _ := bed(t)
	seconds := 2
	body := script("trap '' TERM; echo deaf; while :; do sleep 1; done")
	body.StopTimeout = &seconds
	id := run(t, c, "deaf", body)
	harness.Until(t, 20*time.Second, "the trap is set", func() error {
		return unless(slices.Contains(logOf(t, c, id, engine.LogOptions{}), "out deaf"), "not yet")
	})
	began := time.Now()
	wantStop(t, c, id, http.StatusNoContent)
	if took := time.Since(began); took < 2*time.Second || took > 9*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestRefusedContainers(t *testing.T) {
	c, _ := bed(t)
	ctx := t.Context()
	f := func(what string, want int, change func(*doc.Create)) {
		t.Helper()
		body := script("exit")
		change(body)
		wantStatus(t, what, second(c.CreateContainer(ctx, "", body)), want)
	}
	f("no image", http.StatusNotFound, func(b *doc.Create) { b.Image = "nowhere:1" })
	f("no command", http.StatusBadRequest, func(b *doc.Create) { b.Cmd = nil })
	f("little memory", http.StatusBadRequest, func(b *doc.Create) { b.HostConfig.Memory = 1 << 20 })
	f("unknown capability", http.StatusBadRequest, func(b *doc.Create) { b.HostConfig.CapAdd = []string{"NONSENSE"} })
	create(t, c, "taken", script("exit"))
	wantStatus(t, "name taken", second(c.CreateContainer(ctx, "taken", script("exit"))), http.StatusConflict)

	body := script("exit")
	body.Cmd = []string{"/nothing"}
	wantStatus(t, "no such program", c.StartContainer(ctx, create(t, c, "", body)), http.StatusBadRequest)
	body = script("exit")
	body.HostConfig.Devices = []doc.Device{{PathOnHost: "/dev/none", PathInContainer: "/dev/none", CgroupPermissions: "r"}}
	wantStatus(t, "no such device", c.StartContainer(ctx, create(t, c, "", body)), http.StatusInternalServerError)
	wantStatus(t, "start nobody", c.StartContainer(ctx, "nobody"), http.StatusNotFound)
	wantStatus(t, "rename nobody", c.RenameContainer(ctx, "nobody", "x"), http.StatusNotFound)
}

func TestNetworks(t *testing.T) {
	c, _ := bed(t)
	ctx := t.Context()
	one, err := c.CreateNetwork(ctx, &doc.NetworkCreate{Name: "one", CheckDuplicate: true, Labels: map[string]string{"a": "1"},
		IPAM: doc.IPAM{Driver: "default", Config: []doc.IPAMPool{{Subnet: "10.99.0.0/24", Gateway: "10.99.0.1"}}}})
	harness.Must(t, err)
	got, err := c.Network(ctx, "one")
	harness.Must(t, err)
	if got.Id != one.Id || got.Labels["a"] != "1" || got.IPAM.Config[0].Gateway != "10.99.0.1" {
		t.Errorf("%+v", got)
	}
	list, err := c.Networks(ctx, "a=1")
	if err != nil || len(list) != 1 || list[0].Id != one.Id {
		t.Errorf("%+v, %v", list, err)
	}
	refuse := func(what string, want int, body doc.NetworkCreate) {
		t.Helper()
		wantStatus(t, what, second(c.CreateNetwork(ctx, &body)), want)
	}
	refuse("name taken", http.StatusConflict, doc.NetworkCreate{Name: "one", CheckDuplicate: true})
	refuse("pool overlaps", http.StatusForbidden, doc.NetworkCreate{Name: "x", IPAM: doc.IPAM{Config: []doc.IPAMPool{{Subnet: "10.99.0.0/25"}}}})

	twin, err := c.CreateNetwork(ctx, &doc.NetworkCreate{Name: "one"})
	harness.Must(t, err)
	wantStatus(t, "inspect one of two", second(c.Network(ctx, "one")), http.StatusBadRequest)
	wantStatus(t, "remove one of two", c.RemoveNetwork(ctx, "one"), http.StatusBadRequest)
	harness.Must(t, c.RemoveNetwork(ctx, twin.Id), c.RemoveNetwork(ctx, twin.Id))
	harness.Must(t, c.RemoveNetwork(ctx, "one"))
	if _, err := c.Network(ctx, "one"); !engine.IsNotFound(err) {
		t.Error(err)
	}
}

func TestConnect(t *testing.T) {
	c, _ := bed(t)
	ctx := t.Context()
	two, err := c.CreateNetwork(ctx, &doc.NetworkCreate{Name: "two"})
	harness.Must(t, err)
	id := run(t, c, "joined", script(forever))
	joined := &doc.Connect{Container: id, EndpointConfig: doc.Endpoint{Aliases: []string{"me"}}}
	for _, network := range []string{"two", "two", two.Id} { // connected already is fine
		harness.Must(t, c.ConnectNetwork(ctx, network, joined))
	}
	got, err := c.Container(ctx, id)
	harness.Must(t, err)
	if end := got.NetworkSettings.Networks["two"]; end.NetworkID != two.Id || !slices.Contains(end.Aliases, "me") {
		t.Errorf("%+v", got.NetworkSettings)
	}
	wantStatus(t, "remove a network in use", c.RemoveNetwork(ctx, two.Id), http.StatusForbidden)
	wantStatus(t, "no such network", c.ConnectNetwork(ctx, "nowhere", joined), http.StatusNotFound)

	_, err = c.CreateNetwork(ctx, &doc.NetworkCreate{Name: "config", ConfigOnly: true})
	harness.Must(t, err)
	wantStatus(t, "configuration-only network", c.ConnectNetwork(ctx, "config", joined), http.StatusForbidden)

	body := script(forever)
	body.HostConfig.NetworkMode = "host"
	id = run(t, c, "hosted", body)
	wantStatus(t, "host network", c.ConnectNetwork(ctx, "two", &doc.Connect{Container: id}), http.StatusBadRequest)
	harness.Must(t, c.RemoveContainer(ctx, id, true))

	id = create(t, c, "late", script("exit"))
	harness.Must(t, c.ConnectNetwork(ctx, "nowhere", &doc.Connect{Container: id})) // only told at start
	wantStatus(t, "start without a network", c.StartContainer(ctx, id), http.StatusNotFound)
}

func TestVolumes(t *testing.T) {
	c, _ := bed(t)
	ctx := t.Context()
	if list, err := c.Volumes(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	made, err := c.CreateVolume(ctx, &doc.VolumeCreate{Name: "vol", Labels: map[string]string{"a": "1"}})
	harness.Must(t, err)
	again, err := c.CreateVolume(ctx, &doc.VolumeCreate{Name: "vol", Labels: map[string]string{"a": "2"}})
	harness.Must(t, err)
	got, err := c.Volume(ctx, "vol")
	harness.Must(t, err)
	for _, v := range []*doc.Volume{made, again, got} {
		if v.Name != "vol" || v.Labels["a"] != "1" || v.Driver != "local" {
			t.Errorf("%+v", v)
		}
	}
	body := script("exit")
	body.HostConfig.Binds = []string{"vol:/v"}
	body.Volumes = map[string]struct{}{"/anonymous": {}}
	id := create(t, c, "user", body)
	wantStatus(t, "remove a volume in use", c.RemoveVolume(ctx, "vol"), http.StatusConflict)
	if list, err := c.Volumes(ctx); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	harness.Must(t, c.RemoveContainer(ctx, id, false))
	if list, err := c.Volumes(ctx); err != nil || len(list) != 1 { // the anonymous one went along
		t.Errorf("%+v, %v", list, err)
	}
	harness.Must(t, c.RemoveVolume(ctx, "vol"), c.RemoveVolume(ctx, "vol"))
	if _, err := c.Volume(ctx, "vol"); !engine.IsNotFound(err) {
		t.Error(err)
	}
	if _, err := c.Volume(ctx, "odd name?#"); !engine.IsNotFound(err) {
		t.Error(err)
	}
}

func TestRemoveImage(t *testing.T) {
	c, e := bed(t)
	ctx := t.Context()
	image := harness.ServerImage("remove/web:remove-1").LoadInto(t, e)
	id := e.ImageID(t, image.Name)
	harness.Must(t, c.TagImage(ctx, id, "remove/other", "2"))
	container, err := c.CreateContainer(ctx, "", &doc.Create{Image: id})
	harness.Must(t, err, c.StartContainer(ctx, container.Id))
	gone, err := c.RemoveImage(ctx, "remove/other:2", false)
	if err != nil || !slices.Contains(gone, doc.ImageDeleted{Untagged: "remove/other:2"}) {
		t.Errorf("%+v, %v", gone, err)
	}
	wantStatus(t, "last tag of a running container", second(c.RemoveImage(ctx, image.Name, false)), http.StatusConflict)
	wantStatus(t, "id of a running container", second(c.RemoveImage(ctx, id, true)), http.StatusConflict)
	harness.Must(t, c.RemoveContainer(ctx, container.Id, true))
	gone, err = c.RemoveImage(ctx, id, false)
	if err != nil || !slices.Contains(gone, doc.ImageDeleted{Deleted: id}) {
		t.Errorf("%+v, %v", gone, err)
	}
	gone, err = c.RemoveImage(ctx, id, false)
	if err != nil || gone != nil {
		t.Errorf("again: %+v, %v", gone, err)
	}
	if _, err := c.Image(ctx, image.Name); !engine.IsNotFound(err) {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	c, e := bed(t)
	info, err := c.Info(t.Context())
	if err != nil || info.Driver == "" || !strings.HasPrefix(e.Socket, strings.TrimSuffix(info.DockerRootDir, "data")) {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestLostAnswerIsNotARefusal(t *testing.T) {
	_, e := bed(t)
	p := harness.NewProxy(t, e)
	c := engine.New(p.Socket)
	p.Spoil("POST /volumes/create", harness.LoseAnswer, 0, 1)
	if err := second(c.CreateVolume(t.Context(), &doc.VolumeCreate{Name: "lost"})); !engine.IsUnknown(err) {
		t.Errorf("got %v", err)
	}
	if v, err := c.Volume(t.Context(), "lost"); err != nil || v.Name != "lost" {
		t.Errorf("%+v, %v", v, err)
	}
	if n := p.Counts()["POST /volumes/create"]; n != 1 {
		t.Errorf("sent %d times", n)
	}
}
