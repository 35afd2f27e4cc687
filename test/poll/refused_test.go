package poll_test

import (
	"errors"
	"testing"

	"resin-supervisor/test/harness"
)

// An app of the cloud that cannot be applied is a problem with app, service and key, and the update has
// failed; the app beside it is applied all the same (docs/spec/cloud.md 3.7).
func TestRefusedAppOfTheCloud(t *testing.T) {
	s, _ := harness.NewManaged(t, harness.Setup{Config: often})
	image := local(t, "v1")
	s.Assign(app(1, image))
	s.Start()
	s.WaitSettled(harness.Soon)
	before := s.IDs()
	beside := harness.App{ID: 32, UUID: "6bb0c0ffee6bb0c0ffee6bb0c0ffee62", Name: "other", Commit: "gggg1", Release: 5,
		Services: []harness.Service{{ID: 7, Name: "ok", ImageID: 7000, Image: image}}}
	bad := app(2, image)
	bad.Apps[0].Services[0] = bad.Apps[0].Services[0].Composed("volumes", []any{"${CONFIG_DIR}/a:/config:rw"})
	bad.Apps = append(bad.Apps, beside)
	s.Assign(bad)
	s.WaitOverview(harness.Soon, "update failed", "Problems app shop: rejected", `error: app shop service s0: volumes: "${CONFIG_DIR}/a:/config:rw" is not name:/path`)
	harness.Until(t, harness.Soon, "the app beside it", func() error {
		if _, runs := s.Containers()["ok"]; !runs {
			return errors.New("not there")
		}
		return nil
	})
	s.WaitOverview(harness.Soon, "update failed", "Problems app shop: rejected")
	if d := s.Device(); !d.UpdateFailed || s.IDs()["s0"] != before["s0"] {
		t.Errorf("%+v, containers %v, were %v", d, s.IDs(), before)
	}
	s.Restart()
	s.WaitOverview(harness.Soon, "update failed", "Problems app shop: rejected")
	good := app(3, image)
	good.Apps = append(good.Apps, beside)
	s.Assign(good)
	s.WaitSettled(harness.Soon)
	s.WaitOverview(harness.Soon, "up to date")
}

// So is a whole document of which nothing can be used: what applied before goes on, and the device does not say
// that it is up to date.
func TestRefusedDocumentOfTheCloud(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{Config: often})
	target := app(1, local(t, "v1"))
	s.Assign(target)
	s.Start()
	s.WaitSettled(harness.Soon)
	before := s.IDs()
	bad := raw(t, target)
	bad["name"] = 5
	cloud.Assign(s.UUID, bad)
	s.WaitOverview(harness.Soon, "update failed", "Problems target state of the cloud: refused", "Expecting string at name but instead got: 5")
	polls(t, cloud, len(answered(cloud))+2)
	if d := s.Device(); !d.UpdateFailed || s.IDs()["s0"] != before["s0"] {
		t.Errorf("%+v, containers %v, were %v", d, s.IDs(), before)
	}
	s.Assign(target) // as it was: nothing to store, and nothing is wrong any more
	s.WaitOverview(harness.Soon, "up to date")
	cloud.Assign(s.UUID, bad)
	s.WaitOverview(harness.Soon, "update failed", "Problems target state of the cloud: refused")
}

// A volume and a network of which the cloud's document says null, as YAML does of a key without a value, are ones
// without options, and a name of a variable may have a dot (docs/spec/cloud.md 3.5).
func TestKeysWithoutValueInTheCloudsTarget(t *testing.T) {
	s, _ := harness.NewManaged(t, harness.Setup{Config: often})
	target := app(1, local(t, "v1"))
	target.Apps[0].Services[0] = target.Apps[0].Services[0].Setting("node.name", "a").Composed("volumes", []any{"data:/data"})
	target.Apps[0].Volumes, target.Apps[0].Networks = map[string]any{"data": nil}, map[string]any{"back": nil}
	s.Assign(target)
	s.Start()
	s.WaitSettled(harness.Soon)
	if got := s.Containers()["s0"].Env("node.name"); got != "a" {
		t.Errorf("node.name is %q", got)
	}
	if _, made := s.Engine.Volumes(t)["31_data"]; !made {
		t.Error("there is no volume")
	}
}
