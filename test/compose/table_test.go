package compose_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// bench is the device on which the whole table runs, every row as one service of one app, beside
// services that must not change.
type bench struct {
	*harness.Supervisor
	rows     []row
	image    harness.Image
	controls []harness.Service
	mark     int
}

// newBench makes a host that has what the rows ask for.
func newBench(t *testing.T) *bench {
	e := harness.SharedEngine(t)
	s := harness.NewSupervisor(t, harness.Setup{Config: dict{"deviceApiKey": "devicekey"}})
	s.WriteFile("root/etc/os-release", s.ReadFile("root/etc/os-release")+"BALENA_BOARD_REV=rev-7\n")
	if err := os.MkdirAll(s.Path("root/lib/modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := harness.ServerImage("table/app:v1").Load(t)
	return &bench{Supervisor: s, image: image, rows: table(e.Socket, harness.ServerImage("table/app2:v2").Load(t)), controls: []harness.Service{
		image.Service("plain", 901),
		richImage().Load(t).Service("rich", 902),
		image.Service("guest", 903).Composed("network_mode", "service:plain").Setting("PORT", "8072"),
		image.Service("api", 904).Labelled("io.balena.features.supervisor-api", "1"),
	}}
}

// richImage sets everything an image can set.
func richImage() harness.Image {
	i := harness.ServerImage("table/rich:v1")
	i.Env = map[string]string{"FROM_IMAGE": "1", "BALENA_APP_NAME": "image", "EMPTY": ""}
	i.Labels = map[string]string{"from.image": "1", "io.resin.old": "1"}
	i.Cmd = []string{"--flag"}
	i.Volumes = []string{"/cache/"}
	i.Exposed = []string{"8080/tcp"}
	i.User = "0:0"
	i.WorkDir = "/data/"
	i.StopWith = "SIGINT"
	i.Health = dict{"Test": []string{"CMD", "/main", "-h"}, "Interval": int64(time.Hour), "Retries": 2}
	return i
}

// app is a release in which every row has the value that pick chooses. A new mark makes sure that it
// is looked at again.
func (b *bench) app(release int, pick func(r row) any) harness.Target {
	app := shop(release, b.controls...)
	for i, r := range b.rows {
		app.Services = append(app.Services, r.with(pick(r), i+1, b.image))
	}
	app = app.WithVolumes("data", "more")
	app.Networks = dict{"back": dict{"enable_ipv6": true, "ipam": dict{"config": list{
		dict{"subnet": "10.77.0.0/24", "gateway": "10.77.0.1"}, dict{"subnet": "fd00:77::/64", "gateway": "fd00:77::1"}}}}}
	b.mark++
	return harness.TargetOf(app, marker(b.mark, b.image))
}

func value(r row) any   { return r.value }
func changed(r row) any { return r.changed }

// shown compares what the engine shows of every row.
func (b *bench) shown(t *testing.T, want func(r row) string) {
	t.Helper()
	for name, c := range b.Containers() {
		at := slices.IndexFunc(b.rows, func(r row) bool { return r.service() == name })
		if at < 0 {
			continue
		}
		r := b.rows[at]
		if got := r.read(inspect(t, b.Engine, "/containers/"+c.ID+"/json")); !sameJSON(got, want(r)) {
			t.Errorf("%s: the engine has %s, want %s", name, asJSON(got), want(r))
		}
	}
}

// kept fails the test unless all containers are the same.
func (b *bench) kept(t *testing.T, before map[string]harness.Container) {
	t.Helper()
	now := b.Containers()
	for name, c := range before {
		if name != "mark" && now[name].ID != c.ID {
			t.Errorf("%s was recreated: %s", name, b.why(name))
		}
	}
	if len(now) != len(before) {
		t.Errorf("%d containers, want %d", len(now), len(before))
	}
}

// why is what the supervisor said of the last step on a service.
func (b *bench) why(service string) string {
	reason := "no step logged"
	for _, line := range b.LogLines("step begins") {
		if line["service"] == service && line["step"] != "start" {
			reason = fmt.Sprint(line["step"], ": ", line["reason"])
		}
	}
	return reason
}

// engine.md 28, 29, 30, 31, 32, 33, 34: every field reaches the engine, the same target again changes
// nothing, whatever was restarted and however it is written, and every change of a field is seen.
func TestEveryField(t *testing.T) {
	b := newBench(t)
	b.Start()
	apply(t, b.Supervisor, b.app(1, value))
	before := b.Containers()
	if want := len(b.rows) + len(b.controls) + 1; len(before) != want {
		t.Fatalf("%d containers, want %d", len(before), want)
	}
	t.Run("reaches the engine", func(t *testing.T) {
		b.shown(t, func(r row) string { return r.want })
		checkRich(t, inspect(t, b.Engine, "/containers/"+before["rich"].ID+"/json"))
	})
	t.Run("again after a restart of the supervisor", b.againAfterRestart)
	t.Run("again after a restart of the engine", func(t *testing.T) {
		b.Engine.Stop(t)
		b.Engine.Start(t)
		apply(t, b.Supervisor, b.app(1, value))
		b.kept(t, before)
	})
	t.Run("changes", func(t *testing.T) { b.changes(t, before) })
}

// engine.md 28 to 34.
func (b *bench) againAfterRestart(t *testing.T) {
	events := b.Engine.Record(t)
	b.Restart()
	apply(t, b.Supervisor, b.app(1, row.again))
	for _, action := range []string{"create", "die", "rename", "update"} {
		for _, e := range events.Events("container", action) {
			if e.Service() != "mark" {
				t.Errorf("%s of %s: %s", action, e.Service(), b.why(e.Service()))
			}
		}
	}
	for _, kind := range []string{"network", "volume"} {
		for _, action := range []string{"create", "destroy"} {
			for _, e := range events.Events(kind, action) {
				t.Errorf("%s of %s %s", action, kind, e.Actor.Attributes["name"]+e.Actor.ID)
			}
		}
	}
}

// changes applies the changed column: its rows get new containers with the new values, nobody else
// does.
func (b *bench) changes(t *testing.T, before map[string]harness.Container) {
	apply(t, b.Supervisor, b.app(2, changed))
	b.shown(t, func(r row) string { return r.then })
	now := b.Containers()
	for _, r := range b.rows {
		name := r.service()
		if same := now[name].ID == before[name].ID; same != r.inPlace {
			t.Errorf("%s: same container %v, want %v; last step: %s", name, same, r.inPlace, b.why(name))
		}
		if why := b.why(name); !r.inPlace && !r.isNamedIn(why) {
			t.Errorf("%s was replaced without a reason that names the field: %s", name, why)
		}
	}
	for _, c := range b.controls {
		if now[c.Name].ID != before[c.Name].ID {
			t.Errorf("%s did not change and was replaced: %s", c.Name, b.why(c.Name))
		}
	}
}

// isNamedIn tells whether a reason names the field of a row. Of a feature it may name the variables that it gives.
func (r row) isNamedIn(why string) bool {
	switch {
	case strings.Contains(r.key, "."):
		return strings.Contains(why, "label "+r.key+" ") || strings.Contains(why, "environment ")
	case r.key == "labels":
		return strings.Contains(why, "label ")
	}
	return strings.Contains(why, r.key)
}

// checkRich looks for what an image brings.
//
// engine.md 15, 18, 30.
func checkRich(t *testing.T, i inspected) {
	t.Helper()
	for path, want := range map[string]string{
		"Config/Cmd": `["--flag"]`, "Config/Entrypoint": `["/main"]`, "Config/WorkingDir": `"/data"`, "Config/User": `"0:0"`,
		"Config/StopSignal": `"SIGINT"`, "Config/Healthcheck": `{"Test":["CMD","/main","-h"],"Interval":3600000000000,"Retries":2}`,
		"Config/Labels/from.image": `"1"`, "HostConfig/PortBindings": `null`,
	} {
		if got := at(path)(i); !sameJSON(got, want) {
			t.Errorf("%s is %s, want %s", path, asJSON(got), want)
		}
	}
	for name, want := range map[string]string{"FROM_IMAGE": `"1"`, "BALENA_APP_NAME": `"shop"`, "EMPTY": `""`} {
		if got := variable(name)(i); !sameJSON(got, want) {
			t.Errorf("%s is %s, want %s", name, asJSON(got), want)
		}
	}
}
