package compose_test

import (
	"fmt"
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
)

// What YAML makes of keys without a value, names of variables with dots, and white space in service:x are taken
// as docker compose takes them, posted and in apps.json alike (docs/spec/cloud.md 3.5, docs/spec/engine.md 2.3).
func TestKeysWithoutValue(t *testing.T) {
	image := harness.ServerImage("table/app:v1").Load(t)
	web := image.Service("web", 1)
	for _, key := range []string{"command", "entrypoint", "ports", "healthcheck", "restart", "cap_add", "devices", "tmpfs", "ulimits", "cpus", "mem_limit"} {
		web = web.Composed(key, nil)
	}
	web = web.Composed("volumes", list{"data:/data", nil}).Composed("networks", dict{"back": nil})
	guest := image.Service("guest", 2).Composed("network_mode", "service: web").Composed("depends_on", dict{"web": nil}).Setting("PORT", "8072")
	app := shop(1, web, guest)
	app.Volumes, app.Networks = dict{"data": nil}, dict{"back": nil}
	variables, labels := dict{"discovery.type": "single-node", "UNSET": nil}, dict{"flag": nil}
	posted := harness.TargetOf(app).V2()
	within(posted, "local", "apps", "31", "services", "1")["environment"] = variables
	within(posted, "local", "apps", "31", "services", "1")["labels"] = labels
	packed := harness.TargetOf(app).V3()
	within(packed, "apps", shopID, "releases", commit(1), "services", "web")["environment"] = variables
	within(packed, "apps", shopID, "releases", commit(1), "services", "web")["labels"] = labels
	t.Run("posted", func(t *testing.T) {
		s := harness.StartSupervisor(t, harness.Setup{})
		if a := s.Post("/v2/local/target-state", posted); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		unsaid(t, s, "31")
	})
	t.Run("apps.json", func(t *testing.T) {
		s := harness.StartSupervisor(t, harness.Setup{Apps: packed})
		unsaid(t, s, shopID)
	})
}

// within is the object at a path of a document.
func within(document dict, path ...string) dict {
	for _, key := range path {
		document = document[key].(dict)
	}
	return document
}

// unsaid waits for the containers of TestKeysWithoutValue and checks what the engine has.
func unsaid(t *testing.T, s *harness.Supervisor, uuid string) {
	t.Helper()
	harness.Until(t, harness.Soon, "both services", func() error {
		for _, name := range []string{"web_1001_1_" + commit(1), "guest_1002_1_" + commit(1)} {
			if c, err := s.Engine.Container(name); err != nil || !c.State.Running {
				return fmt.Errorf("%s: %s %v", name, c.State.Status, err)
			}
		}
		return nil
	})
	web, guest := s.Containers()["web"], s.Containers()["guest"]
	shown := inspect(t, s.Engine, "/containers/"+web.ID+"/json")
	got := all(variable("discovery.type"), variable("UNSET"), at("Config/Labels/flag"), at("HostConfig/NetworkMode"))(shown)
	if !sameJSON(got, `["single-node",null,"","`+uuid+`_back"]`) {
		t.Errorf("web has %s", asJSON(got))
	}
	if mode := at("HostConfig/NetworkMode")(inspect(t, s.Engine, "/containers/"+guest.ID+"/json")); mode != "container:"+web.ID {
		t.Errorf("guest has network mode %v", mode)
	}
	if _, made := s.Engine.Volumes(t)["31_data"]; !made {
		t.Error("there is no volume")
	}
}
