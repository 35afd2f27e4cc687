// Package local_test proves local mode on a device of a cloud: how it is entered and left, what stays
// and what goes (docs/spec/cloud.md 8.4, docs/spec/device-api.md 2.30 and 2.31).
package local_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

const localMode = "RESIN_SUPERVISOR_LOCAL_MODE"

type vars map[string]string

// shop is the app that the cloud delivers, bench the one of local mode.
func shop(image harness.Image) harness.App {
	return harness.Shop("aaaa1", 1, image.Service("web", 1).Composed("volumes", []any{"data:/data"})).WithVolumes("data")
}

func bench(image harness.Image) harness.App {
	return harness.App{ID: 7, UUID: "7", Name: "bench", Commit: "cccc3", Release: 3,
		Services: []harness.Service{image.Service("lab", 5).Composed("volumes", []any{"work:/work"})}}.WithVolumes("work")
}

// at gives the device a configuration and an app of its cloud and waits until both are applied.
func at(s *harness.Supervisor, config vars, apps ...harness.App) {
	s.Assign(harness.Target{Config: config, Apps: apps})
	s.PollNow()
}

// inventory is everything the engine has, but for the network of the device API.
func inventory(t *testing.T, e *harness.Engine) map[string]string {
	t.Helper()
	has := map[string]string{}
	containers, err := e.Containers()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		has["container "+c.ID] = c.Name
	}
	for _, n := range e.Networks(t) {
		if n.Name != "supervisor0" {
			has["network "+n.ID] = n.Name
		}
	}
	for name := range e.Volumes(t) {
		has["volume "+name] = ""
	}
	var images []struct {
		Id       string
		RepoTags []string
	}
	e.Must(t, http.MethodGet, "/images/json", nil, &images)
	for _, i := range images {
		has["image "+i.Id] = fmt.Sprint(i.RepoTags)
	}
	return has
}

// made is a container that somebody made by hand, stopped.
func made(t *testing.T, e *harness.Engine, name, imageID string, body map[string]any) string {
	t.Helper()
	doc := map[string]any{"Image": imageID}
	maps.Copy(doc, body)
	var answer struct{ Id string }
	e.Must(t, http.MethodPost, "/containers/create?name="+name, doc, &answer)
	return answer.Id
}

// key is nil when the device API asks for a key or not, as said.
func key(s *harness.Supervisor, needed bool) error {
	answer, err := s.TryCall(harness.Request{Method: http.MethodGet, Path: "/v1/device", NoKey: true})
	if err != nil {
		return err
	}
	if (answer.Status == http.StatusUnauthorized) != needed {
		return fmt.Errorf("without a key: %d", answer.Status)
	}
	return nil
}

// cloud.md 94: leaving local mode takes away exactly what was added, never the agent, never what was
// there before. cloud.md 95: the local target outlives a restart, and the cloud's apps come back.
// device-api.md 35: a key is needed again.
func TestInAndOutOfLocalMode(t *testing.T) {
	e := harness.SharedEngine(t)
	web := harness.ServerImage("local/web:v1").Load(t)
	idle, agent := harness.ServerImage("local/idle:v1").Load(t), harness.ServerImage("local/agent:v1").Load(t)
	for _, v := range []string{"31_data", "mine", "agents"} {
		e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": v}, nil)
	}
	stopped := made(t, e, "mine", e.ImageID(t, idle.Name), nil)
	s := harness.StartSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}, Env: map[string]string{"SUPERVISOR_CONTAINER_ID": "agent"}})
	at(s, nil, shop(web))
	s.WaitSettled(harness.Soon)
	before, kept := inventory(t, e), s.Containers()["web"].ID

	// In: the cloud's app goes, its volume and all images stay.
	at(s, vars{localMode: "1"}, shop(web))
	s.Expect(harness.Target{})
	s.WaitSettled(harness.Soon)
	harness.Until(t, harness.Soon, "the API without a key", func() error { return key(s, false) })
	lab := harness.ServerImage("local/lab:v1").Load(t)
	s.Apply(harness.Target{Config: vars{"SUPERVISOR_LOCAL_MODE": "1"}, Apps: []harness.App{bench(lab)}})

	// What people add, and the agent itself, which came after local mode began.
	made(t, e, "agent", e.ImageID(t, agent.Name), map[string]any{"HostConfig": map[string]any{"Binds": []string{"agents:/data", "agents2:/more"}}})
	made(t, e, "toy", e.ImageID(t, lab.Name), nil)
	e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": "toys"}, nil)
	e.Must(t, http.MethodPost, "/networks/create", map[string]any{"Name": "toynet"}, nil)
	id := s.Containers()["lab"].ID
	s.Restart()
	s.WaitSettled(harness.Soon)
	if s.Containers()["lab"].ID != id || key(s, false) != nil {
		t.Error("the local app did not stay over a restart")
	}
	// The cloud's target is received meanwhile and has to wait.
	next := shop(web).Released("bbbb2", 2)
	at(s, vars{localMode: "1", "RESIN_SUPERVISOR_DELTA": "1"}, next)
	s.Expect(harness.TargetOf(bench(lab)))
	s.WaitSettled(harness.Soon)

	// Out.
	at(s, nil, next)
	s.WaitSettled(harness.Soon)
	harness.Until(t, harness.Soon, "the API with a key", func() error { return key(s, true) })
	after := inventory(t, e)
	if after["container "+stopped] == "" || s.Containers()["web"].ID == kept {
		t.Error("the container made by hand is gone")
	}
	for what, name := range before {
		_, there := after[what]
		if replaced := name == "web_1001_1_aaaa1" || name == next.UUID+"_default"; !there && !replaced {
			t.Errorf("%s (%s) was there before and is gone", what, name)
		}
	}
	var added []string
	for what, name := range after {
		if _, was := before[what]; !was {
			added = append(added, what[:7]+name)
		}
	}
	slices.Sort(added)
	agents := e.ImageID(t, agent.Name)
	if agents == "" || after["image "+agents] == "" || after["volume agents2"] != "" {
		t.Error("the image of the agent is gone")
	}
	if _, ok := after["volume agents2"]; !ok {
		t.Error("a volume of the agent is gone")
	}
	for _, gone := range []string{"toynet", "toys", "toy", "7_work"} {
		for what, name := range after {
			if what == "volume "+gone || name == gone {
				t.Errorf("%s is still there", gone)
			}
		}
	}
	if e.ImageID(t, lab.Name) != "" {
		t.Error("the image of the local app is still there")
	}
	if want := []string{"contain" + "agent", "contain" + "web_1001_2_bbbb2"}; !slices.Equal(slices.DeleteFunc(added, func(a string) bool {
		return a == "volume " || a == "network"+next.UUID+"_default"
	}), want) {
		t.Errorf("added in all: %q", added)
	}
	if got := s.ReadFile("documents/target.json"); !json.Valid([]byte(got)) || slices.Contains(sources(t, got), "local") {
		t.Errorf("the local target is still stored: %s", got)
	}
}

func sources(t *testing.T, document string) []string {
	t.Helper()
	var doc struct {
		Data struct{ Sources map[string]any }
	}
	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(doc.Data.Sources))
}

// Power goes while local mode is left: the next start goes on with it (docs/spec/cloud.md 8.4).
func TestLeavingIsResumed(t *testing.T) {
	e := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true, Cloud: &fakecloud.Cloud{}})
	at(s, vars{localMode: "1"})
	harness.Until(t, harness.Soon, "local mode", func() error { return key(s, false) })
	s.Apply(harness.Target{Config: vars{"SUPERVISOR_LOCAL_MODE": "1"}, Apps: []harness.App{bench(harness.ServerImage("local/lab:v1").Load(t))}})
	s.Assign(harness.Target{})
	s.Kill()
	// Left as it is when the configuration was stored and the process killed before it acted.
	document := map[string]any{}
	if err := json.Unmarshal([]byte(s.ReadFile("documents/target.json")), &document); err != nil {
		t.Fatal(err)
	}
	document["data"].(map[string]any)["config"] = map[string]any{}
	s.WriteJSON("documents/target.json", document)
	s.Cloud().Down()
	s.Start()
	s.Expect(harness.Target{})
	s.WaitListed()
	harness.Until(t, harness.Soon, "the local app gone", func() error {
		if _, there := e.Volumes(t)["7_work"]; there {
			return errors.New("its volume is there")
		}
		return s.Matches()
	})
	if err := key(s, true); err != nil {
		t.Error(err)
	}
}

// cloud.md 94: without a note of what was there nothing is taken away but what no target names.
func TestNoNoteNoCleaning(t *testing.T) {
	e := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	at(s, vars{localMode: "1"})
	harness.Until(t, harness.Soon, "local mode", func() error { return key(s, false) })
	e.Must(t, http.MethodPost, "/volumes/create", map[string]any{"Name": "toys"}, nil)
	made(t, e, "toy", e.ImageID(t, harness.ServerImage("local/toy:v1").Load(t).Name), nil)
	s.Stop()
	s.WriteFile("documents/local-mode.json", "{")
	s.Assign(harness.Target{})
	s.Start()
	s.PollNow()
	harness.Until(t, harness.Soon, "the end of local mode", func() error { return key(s, true) })
	if _, err := e.Container("toy"); err != nil {
		t.Errorf("%v", err)
	}
	if _, there := e.Volumes(t)["toys"]; !there {
		t.Error("the volume is gone")
	}
}

// device-api.md 141, docs/spec/cloud.md 8.4: clients read the target, change it, and send it back. Posted
// without SUPERVISOR_LOCAL_MODE it ends local mode on a device of a cloud. The report has no apps
// meanwhile (cloud.md 60).
func TestTargetMakesTheRoundTrip(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	s := harness.StartSupervisor(t, harness.Setup{Cloud: cloud})
	at(s, vars{localMode: "true", "RESIN_SUPERVISOR_DELTA": "1", "RESIN_HOST_EXTLINUX_fdt": "32"})
	harness.Until(t, harness.Soon, "local mode", func() error { return key(s, false) })
	body := map[string]any{"local": map[string]any{"config": vars{"SUPERVISOR_LOCAL_MODE": "true", "HOST_EXTLINUX_fdt": "32", "SUPERVISOR_DELTA_RETRY_COUNT": "5"}}}
	maps.Copy(body["local"].(map[string]any), map[string]any{"apps": harness.TargetOf(bench(harness.ServerImage("local/lab:v1").Load(t))).V2()["local"].(map[string]any)["apps"]})
	if a := s.Post("/v2/local/target-state", body); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	s.Expect(harness.TargetOf(bench(harness.ServerImage("local/lab:v1").Load(t))))
	s.WaitSettled(harness.Soon)
	for range 2 {
		before := s.IDs()
		var read struct{ State map[string]any }
		s.Get("/v2/local/target-state").JSON(t, &read)
		local := read.State["local"].(map[string]any)
		config := local["config"].(map[string]any)
		for name, want := range map[string]string{"SUPERVISOR_LOCAL_MODE": "true", "HOST_EXTLINUX_fdt": "32", "SUPERVISOR_DELTA_RETRY_COUNT": "5",
			"SUPERVISOR_DELTA": "false", "SUPERVISOR_POLL_INTERVAL": "900000", "HOST_DISCOVERABILITY": "true"} {
			if config[name] != want {
				t.Errorf("%s is shown as %v, want %s", name, config[name], want)
			}
		}
		if name := s.Cloud().Device(t, s.UUID).UUID[:7]; local["name"] != "bench" && local["name"] != "device-"+name {
			t.Errorf("name is %v", local["name"])
		}
		if a := s.Post("/v2/local/target-state", read.State); a.Status != http.StatusOK {
			t.Fatalf("posted back: %d %s", a.Status, a.Body)
		}
		s.WaitSettled(harness.Soon)
		if !maps.Equal(s.IDs(), before) {
			t.Error("a container changed")
		}
	}
	for _, r := range cloud.Calls(fakecloud.Report) {
		device, _ := r.JSON(t)[s.UUID].(map[string]any)
		apps, _ := device["apps"].(map[string]any)
		if _, named := apps["7"]; named {
			t.Errorf("the local app was reported: %s", r.Body)
		}
	}
	s.Apply(harness.Target{})
	harness.Until(t, harness.Soon, "the end of local mode", func() error { return key(s, true) })
	if a := s.Post("/v2/local/target-state", harness.Target{}.V2()); a.Status != http.StatusBadRequest ||
		a.Body != `{"status":"failed","message":"Target state can only set when device is in local mode"}` {
		t.Errorf("outside local mode: %d %s", a.Status, a.Body)
	}
}
