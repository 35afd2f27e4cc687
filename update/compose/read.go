package compose

import (
	"strings"

	"resin-supervisor/update/engine/doc"
)

// shortID is the length of the abbreviated id that the engine uses as hostname and alias.
const shortID = 12

// ReadContainer brings an inspected container into canonical form (docs/spec/engine.md 4.1). It never fails: it keeps
// unknown values, which then differ from any target. The MacAddress of an endpoint is the one that the container has.
// Doc has the requested one.
func ReadContainer(c *doc.Container) *Container {
	cfg := &c.Config
	d := doc.Create{
		Tty: cfg.Tty, Cmd: cfg.Cmd, Entrypoint: cfg.Entrypoint, Volumes: cfg.Volumes, Env: cfg.Env,
		Image: readImage(c), User: cfg.User, WorkingDir: cfg.WorkingDir,
		Hostname: readHostname(c), Domainname: cfg.Domainname, MacAddress: cfg.MacAddress,
		StopSignal: cfg.StopSignal, StopTimeout: cfg.StopTimeout, Healthcheck: cfg.Healthcheck,
		Labels: cfg.Labels, HostConfig: c.HostConfig,
	}
	canonical(&d)
	return &Container{Doc: d, Networks: readEndpoints(c)}
}

// readImage is the image id of a container. For a container that was created by name it is the id that the name meant
// then.
func readImage(c *doc.Container) string {
	if strings.HasPrefix(c.Config.Image, "sha256:") || c.Image == "" {
		return c.Config.Image
	}
	return c.Image
}

func readHostname(c *doc.Container) string {
	if isShortID(c.Config.Hostname, c.Id) {
		return ""
	}
	return c.Config.Hostname
}

func isShortID(s, id string) bool { return len(s) == shortID && strings.HasPrefix(id, s) }

// readEndpoints skips the engine's own networks and the aliases that the engine added.
func readEndpoints(c *doc.Container) map[string]doc.Endpoint {
	out := map[string]doc.Endpoint{}
	for name, e := range c.NetworkSettings.Networks {
		if name == "host" || name == "none" || name == "bridge" {
			continue
		}
		var aliases []string
		for _, alias := range e.Aliases {
			if !isShortID(alias, c.Id) {
				aliases = append(aliases, alias)
			}
		}
		e.Aliases = aliases
		out[name] = e
	}
	return canonicalEndpoints(out)
}

// ReadNetwork brings an inspected network into canonical form (docs/spec/engine.md 3.2).
func ReadNetwork(n *doc.Network) *Network {
	out := &Network{Name: n.Name, Doc: doc.NetworkCreate{
		Name: n.Name, Driver: n.Driver, EnableIPv6: n.EnableIPv6, Internal: n.Internal, ConfigOnly: n.ConfigOnly,
		IPAM: n.IPAM, Options: n.Options, Labels: n.Labels,
	}}
	canonicalNetwork(&out.Doc)
	return out
}

// ReadVolume brings an inspected volume into canonical form (docs/spec/engine.md 3.1).
func ReadVolume(v *doc.Volume) *Volume {
	out := &Volume{Name: v.Name, Doc: doc.VolumeCreate{
		Name: v.Name, Driver: v.Driver, DriverOpts: copyOf(v.Options), Labels: v.Labels,
	}}
	canonicalVolume(&out.Doc)
	return out
}
