package harness

import (
	"fmt"
	"maps"
	"strconv"
)

// Target is a target state as a test writes it; V2 and V3 are its two forms on the wire.
type Target struct {
	Name   string // device name
	Config map[string]string
	Apps   []App
}

// App is one app of a target. UUID is needed in the v3 form only: in the v2 form of local mode it
// is the id as text.
type App struct {
	ID       int
	UUID     string
	Name     string
	Commit   string
	Release  int
	Services []Service
	Volumes  map[string]any
	Networks map[string]any
}

// Service is one service of an app's release.
type Service struct {
	ID      int
	Name    string
	ImageID int
	Image   string
	Stopped bool // running:false
	Env     map[string]string
	Labels  map[string]string
	Compose map[string]any
}

// ShopUUID is the uuid of the shop.
const ShopUUID = "5aa0c0ffee5aa0c0ffee5aa0c0ffee51"

// Shop is a release of the app that most tests use.
func Shop(commit string, release int, services ...Service) App {
	return App{ID: 31, UUID: ShopUUID, Name: "shop", Commit: commit, Release: release, Services: services}
}

// ShopAndSolo are two apps of one image: the shop with the services web and db, and solo with the service main.
// web and main have a volume each and may use the device API.
func ShopAndSolo(image Image) (shop, solo App) {
	with := func(volume string, s Service) Service {
		return s.Labelled("io.balena.features.supervisor-api", "1").Composed("volumes", []any{volume + ":/data"})
	}
	shop = Shop("aaaa1", 11, with("data", image.Service("web", 1)), image.Service("db", 2)).WithVolumes("data")
	solo = App{ID: 32, UUID: "6bb0c0ffee6bb0c0ffee6bb0c0ffee62", Name: "solo", Commit: "bbbb1", Release: 12,
		Services: []Service{with("keep", image.Service("main", 3))}}
	return shop, solo.WithVolumes("keep")
}

// TargetOf is a target of these apps and no configuration.
func TargetOf(apps ...App) Target { return Target{Apps: apps} }

// Service is a service of the image. The id of its image follows from its own.
func (i Image) Service(name string, id int) Service {
	return Service{ID: id, Name: name, ImageID: 1000 + id, Image: i.Name}
}

// ContainerName is the name the service's container must have (docs/spec/engine.md 2.5).
func (a App) ContainerName(s Service) string {
	return fmt.Sprintf("%s_%d_%d_%s", s.Name, s.ImageID, a.Release, a.Commit)
}

// Released is the same app under another release.
func (a App) Released(commit string, release int) App {
	a.Commit, a.Release = commit, release
	return a
}

// With is the same app with other services.
func (a App) With(services ...Service) App {
	a.Services = services
	return a
}

// WithVolumes is the same app with these volumes.
func (a App) WithVolumes(names ...string) App {
	a.Volumes = map[string]any{}
	for _, name := range names {
		a.Volumes[name] = map[string]any{}
	}
	return a
}

// Using is the same service with another image.
func (s Service) Using(image string, imageID int) Service {
	s.Image, s.ImageID = image, imageID
	return s
}

// Setting is the same service with one more environment variable.
func (s Service) Setting(name, value string) Service {
	env := maps.Clone(s.Env)
	if env == nil {
		env = map[string]string{}
	}
	env[name] = value
	s.Env = env
	return s
}

// Labelled is the same service with one more label.
func (s Service) Labelled(name, value string) Service {
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[name] = value
	s.Labels = labels
	return s
}

// Composed is the same service with one more compose key.
func (s Service) Composed(key string, value any) Service {
	compose := maps.Clone(s.Compose)
	if compose == nil {
		compose = map[string]any{}
	}
	compose[key] = value
	s.Compose = compose
	return s
}

// V2 is the body of POST /v2/local/target-state (docs/spec/device-api.md 2.31).
func (t Target) V2() map[string]any {
	apps := map[string]any{}
	for _, a := range t.Apps {
		services := map[string]any{}
		for _, s := range a.Services {
			services[strconv.Itoa(s.ID)] = s.v2()
		}
		apps[strconv.Itoa(a.ID)] = map[string]any{"name": a.Name, "commit": a.Commit,
			"releaseId": strconv.Itoa(a.Release), "services": services,
			"volumes": orEmpty(a.Volumes), "networks": orEmpty(a.Networks)}
	}
	local := map[string]any{"name": t.deviceName(), "config": orEmpty(t.Config), "apps": apps}
	return map[string]any{"local": local}
}

// V3 is the body of apps.json (docs/spec/cloud.md 8.1).
func (t Target) V3() map[string]any {
	apps := map[string]any{}
	for _, a := range t.Apps {
		services := map[string]any{}
		for _, s := range a.Services {
			services[s.Name] = s.v3()
		}
		release := map[string]any{"id": a.Release, "services": services,
			"volumes": orEmpty(a.Volumes), "networks": orEmpty(a.Networks)}
		apps[a.UUID] = map[string]any{"id": a.ID, "name": a.Name, "class": "fleet", "is_host": false,
			"releases": map[string]any{a.Commit: release}}
	}
	return map[string]any{"name": t.deviceName(), "config": orEmpty(t.Config), "apps": apps}
}

func (t Target) deviceName() string {
	if t.Name == "" {
		return "bench"
	}
	return t.Name
}

func (s Service) v2() map[string]any {
	doc := maps.Clone(s.Compose)
	if doc == nil {
		doc = map[string]any{}
	}
	maps.Copy(doc, map[string]any{"serviceName": s.Name, "serviceId": s.ID, "imageId": s.ImageID, "image": s.Image,
		"running": !s.Stopped, "environment": orEmpty(s.Env), "labels": orEmpty(s.Labels)})
	return doc
}

func (s Service) v3() map[string]any {
	return map[string]any{"id": s.ID, "image_id": s.ImageID, "image": s.Image, "running": !s.Stopped,
		"environment": orEmpty(s.Env), "labels": orEmpty(s.Labels), "composition": orEmpty(s.Compose)}
}

// orEmpty makes a missing map an empty JSON object.
func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
