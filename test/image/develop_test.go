package image_test

import (
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// engine.md 8.6: without a cloud, images that nothing uses any more stay where people develop, for the layers
// are the cache of the next build, and go elsewhere.
func TestUnusedImagesStayInDevelopmentMode(t *testing.T) {
	e := harness.SharedEngine(t)
	const name = "local_image_web:latest"
	base, extra := harness.ServerImage("develop/base:v1").Load(t), harness.ServerImage("develop/extra:v1").Load(t)
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"developmentMode": true}})
	first := rebuild(t, e, name, base.Name, "ENV MODE=one")
	web := harness.Image{Name: name}.Service("web", 1)
	s.Apply(shop(1, web, extra.Service("extra", 2)))
	onImage(t, s, "web", first)
	second := rebuild(t, e, name, base.Name, "ENV MODE=two")
	s.PostTarget(shop(2, web))
	onImage(t, s, "web", second)
	s.Restart()
	s.WaitSettled(harness.Soon)
	present(t, e, first, extra.Name)

	s.WriteJSON("boot/config.json", map[string]any{"uuid": s.UUID, "deviceType": "raspberrypi3", "developmentMode": false})
	s.PostTarget(shop(3, web))
	s.WaitSettled(harness.Soon)
	awaitGone(t, e, first, extra.Name)
	present(t, e, second)
}

// engine.md 8.6: on a device of a cloud they go while its target applies, in development mode too, and stay in
// local mode.
func TestUnusedImagesStayInLocalMode(t *testing.T) {
	e := harness.SharedEngine(t)
	var images []harness.Image
	for _, name := range []string{"develop/a:v1", "develop/b:v1", "develop/c:v1", "develop/d:v1"} {
		images = append(images, harness.ServerImage(name).Load(t))
	}
	s := harness.NewSupervisor(t, harness.Setup{Cloud: &fakecloud.Cloud{}, Config: map[string]any{"developmentMode": true}})
	s.Assign(shop(1, images[0].Service("web", 1)))
	s.Start()
	s.WaitSettled(harness.Soon)
	cloud := shop(2, images[1].Service("web", 1))
	retarget(t, s, cloud)
	s.WaitSettled(harness.Soon)
	awaitGone(t, e, images[0].Name)

	cloud.Config = map[string]string{"RESIN_SUPERVISOR_LOCAL_MODE": "1"}
	retarget(t, s, cloud)
	s.Expect(harness.Target{})
	s.WaitSettled(harness.Soon)
	for release := 2; release < 4; release++ {
		local := shop(release, images[release].Service("web", 1))
		local.Config = cloud.Config
		s.Apply(local)
	}
	present(t, e, images[1].Name, images[2].Name, images[3].Name)
}
