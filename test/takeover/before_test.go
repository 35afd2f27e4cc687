package takeover_test

import (
	"errors"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// Before the first target of its cloud a device calls nothing unwanted, and does not say that it is up to date.
func TestBeforeTheFirstTarget(t *testing.T) {
	engine, registry, cloud := harness.SharedEngine(t), harness.SharedRegistry(t), &fakecloud.Cloud{}
	image := registry.PushDigest(t, harness.ServerImage("takeover/app:v1"))
	engine.Pull(t, image.Name)
	s := harness.NewSupervisor(t, harness.Setup{Cloud: cloud})
	web := harness.Service{ID: 92, Name: "web", ImageID: 1001, Image: image.Name}
	app := harness.Shop("c0ffee01", 88, web)
	o := &original{t, s, app}
	o.objects()
	before := map[string]harness.Container{"web": o.container(web, nil, nil)}
	cloud.Down()
	s.Start()
	s.WaitListed()
	says := func(yes string, no ...string) func() error {
		return func() error {
			page := s.Overview()
			if !strings.Contains(page, yes) {
				return errors.New(page)
			}
			for _, text := range no {
				if strings.Contains(page, text) {
					return errors.New(page)
				}
			}
			return nil
		}
	}
	harness.Until(t, harness.Soon, "the status before the first target", says("no target from the cloud yet", "up to date", "no longer wanted"))
	if _, text, _ := s.Run("status", "--json"); !strings.Contains(text, `"hasTarget":false`) {
		t.Errorf("status --json says: %s", text)
	}
	s.Assign(harness.TargetOf(app))
	cloud.Up(t)
	s.WaitSettled(harness.Soon)
	harness.Until(t, harness.Soon, "the status with a target", says("up to date", "no target"))
	if err := same(before, s.Containers()); err != nil {
		t.Error(err)
	}
	s.Assign(harness.TargetOf(harness.App{ID: 32, UUID: "6aa0c0ffee5aa0c0ffee5aa0c0ffee52", Name: "other"}))
	harness.Until(t, harness.Soon, "the app to go", func() error {
		all, err := engine.Supervised()
		if err == nil && len(all) > 0 {
			err = errors.New("still there")
		}
		return err
	})
}
