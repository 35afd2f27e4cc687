package current

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine/doc"
)

// ErrForeign says that an object is not ours.
var ErrForeign = errors.New("not supervised")

// Supervised reports whether labels, with either prefix, mark an object as ours.
func Supervised(labels map[string]string) bool {
	_, balena := labels["io.balena.supervised"]
	_, resin := labels["io.resin.supervised"]
	return balena || resin
}

// ReadContainer reads an inspected container (docs/spec/engine.md 4.1). It returns ErrForeign for a
// container that is not ours. Any other error is for one with our label that does not name its app, service and
// release. The agent does not touch such a container.
func ReadContainer(c *doc.Container) (*Container, error) {
	if !Supervised(c.Config.Labels) {
		return nil, ErrForeign
	}
	labels := compose.NormaliseLabels(c.Config.Labels)
	name := strings.TrimPrefix(c.Name, "/")
	appID, err := strconv.Atoi(labels["io.balena.app-id"])
	if err != nil {
		return nil, fmt.Errorf("container %s: label io.balena.app-id: %q is not an id", name, labels["io.balena.app-id"])
	}
	serviceID, err := strconv.Atoi(labels["io.balena.service-id"])
	if err != nil {
		return nil, fmt.Errorf("container %s: label io.balena.service-id: %q is not an id", name, labels["io.balena.service-id"])
	}
	service, imageID, releaseID, commit, ok := compose.ParseContainerName(name)
	if !ok {
		return nil, fmt.Errorf("container %s: the name does not tell the release", name)
	}
	if label := labels["io.balena.service-name"]; label != "" {
		service = label
	}
	return &Container{
		ID: c.Id, Name: name, AppID: appID, AppUUID: labels["io.balena.app-uuid"],
		ServiceName: service, ServiceID: serviceID, ImageID: imageID, ReleaseID: releaseID, Commit: commit,
		EngineImage: c.Config.Image, ImageEngine: c.Image,
		Status: c.State.Status, Running: c.State.Running, ExitCode: c.State.ExitCode, Error: c.State.Error,
		Health: health(c.State.Health), CreatedAt: c.Created, StartedAt: c.State.StartedAt,
		Tty: c.Config.Tty, Env: c.Config.Env, VolumeNames: volumeNames(c.Mounts), Anonymous: anonymous(c.Mounts),
		Attached: attached(c.NetworkSettings.Networks), Config: compose.ReadContainer(c),
	}, nil
}

func health(h *doc.HealthState) string {
	if h == nil || h.Status == "none" {
		return ""
	}
	return h.Status
}

func volumeNames(mounts []doc.MountPoint) []string {
	var names []string
	for _, m := range mounts {
		if m.Type == "volume" && m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return names
}

func anonymous(mounts []doc.MountPoint) map[string]string {
	paths := make(map[string]string)
	for _, m := range mounts {
		if m.Type == "volume" && compose.IsAnonymous(m.Name) {
			paths[m.Name] = m.Destination
		}
	}
	return paths
}

func attached(networks map[string]doc.Endpoint) map[string]string {
	ids := make(map[string]string, len(networks))
	for name, e := range networks {
		ids[name] = e.NetworkID
	}
	return ids
}

// ReadImage reads one entry of the image list. Doc stays nil until the image is inspected.
func ReadImage(i doc.ImageSummary) *Image {
	return &Image{ID: i.Id, Tags: withoutPlaceholders(i.RepoTags), Digests: withoutPlaceholders(i.RepoDigests)}
}

// ReadImageDoc reads an inspected image.
func ReadImageDoc(i *doc.Image) *Image {
	i.RootFS.Layers = nil // nobody needs them, and they take memory
	return &Image{ID: i.Id, Tags: withoutPlaceholders(i.RepoTags), Digests: withoutPlaceholders(i.RepoDigests), Doc: i}
}

// withoutPlaceholders drops the names that the engine shows for images without a name.
func withoutPlaceholders(refs []string) []string {
	var kept []string
	for _, ref := range refs {
		if !strings.HasPrefix(ref, "<none>") {
			kept = append(kept, ref)
		}
	}
	return kept
}

// ReadNetwork reads an inspected network (docs/spec/engine.md 3.2). It returns ErrForeign for one that is not ours. The
// supervisor network has no labels and is known by its name.
func ReadNetwork(n *doc.Network) (*Network, error) {
	if n.Name == compose.SupervisorNetworkName {
		return &Network{ID: n.Id, Name: n.Name, Config: compose.ReadNetwork(n)}, nil
	}
	if !Supervised(n.Labels) {
		return nil, ErrForeign
	}
	appID, appUUID, _, ok := compose.ParseNetworkName(n.Name, n.Labels)
	if !ok {
		return nil, fmt.Errorf("network %s: the name does not tell the app", n.Name)
	}
	return &Network{ID: n.Id, Name: n.Name, AppID: appID, AppUUID: appUUID, Config: compose.ReadNetwork(n)}, nil
}

// ReadVolume reads one volume (docs/spec/engine.md 3.1). It returns ErrForeign for a name that is not of our form.
func ReadVolume(v *doc.Volume) (*Volume, error) {
	appID, _, ok := compose.ParseVolumeName(v.Name)
	if !ok {
		return nil, ErrForeign
	}
	return &Volume{
		Name: v.Name, AppID: appID, Supervised: Supervised(v.Labels),
		Mountpoint: v.Mountpoint, Config: compose.ReadVolume(v),
	}, nil
}
