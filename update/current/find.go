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

// Image says which image a record is about: by its name, or by its engine id when that is all that is left.
func (r Record) Image() string {
	if r.Former {
		return r.EngineID
	}
	return r.Name
}

// Slot is the Doing subject of a container that has no engine id yet.
func Slot(appUUID, service string) string { return appUUID + "/" + service }

// FindImage returns the engine's image for a normalised reference, nil when it is not there
// (docs/spec/engine.md 8.4). A reference without a digest means what its tag names now, and what the agent
// recorded only while the tag names nothing. A digest wins over everything; a record of the agent comes
// next, because an image that was made from a delta has a digest of its own. A tag serves for a reference
// with a digest only if the image carries no digest that could tell otherwise (a preloaded image).
func (s *State) FindImage(ref string) *Image {
	repo, digest, hasDigest := strings.Cut(ref, "@")
	var image *Image
	if hasDigest {
		image = s.byDigest(repo, digest)
	} else {
		image = s.byTag(ref)
	}
	if image == nil {
		image = s.byRecord(ref)
	}
	if image != nil || !hasDigest {
		return image
	}
	if image = s.byTag(repo + ":latest"); image != nil && !hasRepo(image.Digests, repo) {
		return image
	}
	return nil
}

func (s *State) byDigest(repo, digest string) *Image {
	var other *Image
	for _, image := range s.Images {
		if slices.Contains(image.Digests, repo+"@"+digest) {
			return image
		}
		for _, d := range image.Digests {
			if strings.HasSuffix(d, "@"+digest) && (other == nil || image.ID < other.ID) {
				other = image
			}
		}
	}
	return other
}

func (s *State) byRecord(ref string) *Image {
	var found *Image
	for _, r := range s.Records {
		if r.Name != ref || r.Former || r.EngineID == "" {
			continue
		}
		if image := s.Images[r.EngineID]; image != nil && (found == nil || image.ID < found.ID) {
			found = image
		}
	}
	return found
}

func (s *State) byTag(tag string) *Image {
	tag = familiar(tag)
	for _, image := range s.Images {
		if slices.Contains(image.Tags, tag) {
			return image
		}
	}
	return nil
}

// familiar is a reference in the engine's own short form, which leaves out the registry of Docker.
func familiar(ref string) string {
	for _, prefix := range [...]string{"index.docker.io/", "docker.io/", "library/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	return ref
}

func hasRepo(digests []string, repo string) bool {
	return slices.ContainsFunc(digests, func(d string) bool { return strings.HasPrefix(d, repo+"@") })
}

// Inherited are the anonymous volumes (engine name by path) that the next container of a service has from the
// one before it, if it is of the same image.
func (s *State) Inherited(appID int, service, image string) map[string]string {
	volumes := make(map[string]string)
	for name, v := range s.Anonymous {
		if v.AppID == appID && v.Service == service && v.Image == image {
			volumes[v.Path] = name
		}
	}
	return volumes
}

// Stranded names a network of a container that was made again since the container was attached to it, empty
// when there is none. The engine goes by the network's id and cannot start such a container.
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

// AppKey is how objects of one app are grouped: by uuid, or by id where the object has none.
func AppKey(appUUID string, appID int) string {
	if appUUID != "" {
		return appUUID
	}
	return strconv.Itoa(appID)
}
