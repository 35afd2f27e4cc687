package compose

import (
	"encoding/json"
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

func testFacts() *Facts {
	return &Facts{
		UUID: "d0d0", DeviceName: "kiosk-7", DeviceType: "raspberrypi3", Arch: "armv7hf", OSVersion: "balenaOS 6.1",
		BoardRev: "rev9", Hostname: "kiosk", APIEndpoint: "https://api.example", DeviceAPIKey: "devkey",
		ListenPort: 48484, Gateway: "10.114.104.1", EngineSocket: "/var/run/docker.sock",
		KernelModules: true, Firmware: true,
		ServiceKey: func(appID int, service string) string { return "svckey" },
	}
}

const imageID = "sha256:0c1d"

func onDevice(config doc.Config) func(string) *doc.Image {
	return func(string) *doc.Image { return &doc.Image{Id: imageID, Config: config} }
}

func decode(t *testing.T, text string) target.Map {
	t.Helper()
	var m target.Map
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// release is an app with one service web, the networks front and back, and the volume data.
func release(t *testing.T, composition string) *target.App {
	t.Helper()
	return &target.App{UUID: "5aa0", ID: 31, Name: "shop", Class: "fleet", Release: &target.Release{
		Commit: "c0ffee", ID: 7,
		Services: map[string]*target.Service{"web": {
			Name: "web", ID: 92, ImageID: 41, Image: "reg.example/web@sha256:aa", Running: true,
			Composition: decode(t, composition),
		}},
		Networks: map[string]target.Map{"front": nil, "back": nil},
		Volumes:  map[string]target.Map{"data": nil},
	}}
}

func resolve(t *testing.T, app *target.App, config doc.Config) *App {
	t.Helper()
	out, err := Resolve(app, testFacts(), onDevice(config))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// web resolves one composition and returns its service with the app's warnings.
func web(t *testing.T, composition string) (*Service, []string) {
	t.Helper()
	out := resolve(t, release(t, composition), doc.Config{})
	return out.Services["web"], out.Warnings
}

// asMade is the container that the engine would show for a service, with the settings that every engine adds.
func asMade(t *testing.T, s *Service) *doc.Container {
	t.Helper()
	const id = "0123456789abcdef0123"
	made, err := CreateBody(s, func(service string) string { return "id-of-" + service })
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made) // over the wire
	if err != nil {
		t.Fatal(err)
	}
	var body doc.Create
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	c := &doc.Container{Id: id, Image: body.Image, HostConfig: body.HostConfig, Config: doc.Config{
		Hostname: body.Hostname, Domainname: body.Domainname, User: body.User, Tty: body.Tty, Env: body.Env,
		Cmd: body.Cmd, Entrypoint: body.Entrypoint, Image: body.Image, Volumes: body.Volumes,
		WorkingDir: body.WorkingDir, MacAddress: body.MacAddress, Labels: body.Labels, StopSignal: body.StopSignal,
		StopTimeout: body.StopTimeout, Healthcheck: body.Healthcheck,
	}}
	if c.Config.Hostname == "" {
		c.Config.Hostname = id[:12]
	}
	c.NetworkSettings.Networks = map[string]doc.Endpoint{}
	for _, joined := range []map[string]doc.Endpoint{body.NetworkingConfig.EndpointsConfig, Secondary(s)} {
		for name, e := range joined {
			e.Aliases = append(append([]string{}, e.Aliases...), id[:12])
			c.NetworkSettings.Networks[name] = e
		}
	}
	return c
}

func compare(want *Service, have *Container) []Difference {
	return Compare(want, have, func(service string) string { return "id-of-" + service }, Capabilities{})
}

func environment(d *doc.Create) map[string]string { return splitEnv(d.Env) }

func anyContains(lines []string, part string) bool {
	return strings.Contains(strings.Join(lines, "\n"), part)
}
