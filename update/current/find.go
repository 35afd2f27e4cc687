package current

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Key identifies a record: one image of one service of one release.
func (r Record) Key() string {
	key := r.AppUUID + " " + r.ServiceName + " " + r.Commit + " " + r.Name
	if r.Former {
		key += " " + r.EngineID
	}
	return key
}

// Image names the image of a record: by its name, or by its engine id once the name means another image.
func (r Record) Image() string {
	if r.Former {
		return r.EngineID
	}
	return r.Name
}

// Slot names a service in the maps of State. Doing uses it for a container that has no engine id yet.
func Slot(appUUID, service string) string { return appUUID + "/" + service }

// FindImage returns the engine's image for a normalised reference, nil when the image is not on the device
// (docs/spec/engine.md 8.4). A reference without a digest means the image that its tag names now, or the agent's
// record while no image has the tag. For a reference with a digest, an image with this digest comes first. The agent's
// record comes next, because an image from a delta has another digest. An image with the tag latest counts last, and
// only if it has no digest of the repository, as a preloaded image.
func (s *State) FindImage(ref string) *Image { return s.Finder().Find(ref) }

// Finder answers FindImage for many references after one pass over images and records.
type Finder struct {
	named    map[string]*Image // by tag and by repo@digest
	digests  map[string]*Image // by digest alone
	recorded map[string]*Image // by the name of a record
}

// Finder returns the Finder of a state.
func (s *State) Finder() *Finder {
	f := &Finder{make(map[string]*Image, len(s.Images)), make(map[string]*Image), make(map[string]*Image, len(s.Records))}
	for _, image := range s.Images {
		for _, tag := range image.Tags {
			f.named[tag] = image
		}
		for _, d := range image.Digests {
			f.named[d] = image
			_, digest, _ := strings.Cut(d, "@")
			putFirst(f.digests, digest, image)
		}
	}
	for _, r := range s.Records {
		if image := s.Images[r.EngineID]; image != nil && !r.Former {
			putFirst(f.recorded, r.Name, image)
		}
	}
	return f
}

// putFirst keeps the image with the smallest id.
func putFirst(m map[string]*Image, key string, image *Image) {
	if other := m[key]; other == nil || image.ID < other.ID {
		m[key] = image
	}
}

// Find is FindImage.
func (f *Finder) Find(ref string) *Image {
	repo, digest, hasDigest := strings.Cut(ref, "@")
	image := f.named[shortForm(ref)]
	if hasDigest {
		if image = f.named[ref]; image == nil {
			image = f.digests[digest]
		}
	}
	if image == nil {
		image = f.recorded[ref]
	}
	if image != nil || !hasDigest {
		return image
	}
	if image = f.named[shortForm(repo+":latest")]; image != nil && !hasRepo(image.Digests, repo) {
		return image
	}
	return nil
}

// shortForm is a reference in the engine's short form, without the registry of Docker.
func shortForm(ref string) string {
	for _, prefix := range [...]string{"index.docker.io/", "docker.io/", "library/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	return ref
}

func hasRepo(digests []string, repo string) bool {
	return slices.ContainsFunc(digests, func(d string) bool { return strings.HasPrefix(d, repo+"@") })
}

// Inherited returns the anonymous volumes (engine name by path) that the next container of a service takes over, if it
// has the same image.
func (s *State) Inherited(appID int, service, image string) map[string]string {
	volumes := make(map[string]string)
	for name, v := range s.Anonymous {
		if v.AppID == appID && v.Service == service && v.Image == image {
			volumes[v.Path] = name
		}
	}
	return volumes
}

// Stranded names a network that was replaced since the container was attached to it, empty when there is none. The
// engine looks the network up by id and cannot start such a container.
func (s *State) Stranded(c *Container) string {
	for _, name := range slices.Sorted(maps.Keys(c.Attached)) {
		known, same := false, c.Attached[name] == ""
		for id, n := range s.Networks {
			known = known || n.Name == name
			same = same || id == c.Attached[name]
		}
		if known && !same {
			return name
		}
	}
	return ""
}

// AppKey is the key by which objects are grouped into apps: the uuid, or the id where the object has none.
func AppKey(appUUID string, appID int) string {
	if appUUID != "" {
		return appUUID
	}
	return strconv.Itoa(appID)
}
