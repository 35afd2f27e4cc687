package current

import (
	"maps"
	"reflect"
	"slices"

	"resin-supervisor/update/compose"
)

// Empty is the state before the first observation.
func Empty() *State { return &State{} }

// Listing is the result of one full listing of the engine.
type Listing struct {
	Containers []*Container
	Images     []*Image
	Networks   []*Network
	Volumes    []*Volume
	NoOomKill  bool
	Machine    string
	Deltas     bool
}

// WithListing replaces all engine objects by a full listing. It keeps image documents that were read before, because
// the content of an image id never changes.
func (s *State) WithListing(l Listing) *State {
	n := s.successor()
	n.Synced, n.Listed, n.NoOomKill = true, true, l.NoOomKill
	n.Machine, n.Deltas = l.Machine, l.Deltas
	n.ImageRevision++
	n.Containers = index(l.Containers, func(c *Container) string { return c.ID })
	n.Networks = index(l.Networks, func(x *Network) string { return x.ID })
	n.Volumes = index(l.Volumes, func(v *Volume) string { return v.Name })
	n.Images = index(l.Images, func(i *Image) string { return i.ID })
	for id, image := range n.Images {
		if old := s.Images[id]; old != nil && image.Doc == nil {
			image.Doc = old.Doc
		}
	}
	return n
}

// Unsynced marks the state as possibly outdated: the engine cannot be reached.
func (s *State) Unsynced() *State {
	if !s.Synced {
		return s
	}
	n := s.successor()
	n.Synced = false
	return n
}

// WithContainer adds or updates one observed container.
func (s *State) WithContainer(c *Container) *State {
	if same(s.Containers[c.ID], c) {
		return s
	}
	n := s.successor()
	n.Containers = with(s.Containers, c.ID, c)
	return n
}

// WithStart counts a restart when the engine starts a container that ran before.
func (s *State) WithStart(id string) *State {
	c := s.Containers[id]
	if c == nil || c.StartedAt.IsZero() {
		return s
	}
	n := s.successor()
	slot := Slot(c.AppUUID, c.ServiceName)
	n.Restarts = with(s.Restarts, slot, s.Restarts[slot]+1)
	return n
}

// WithoutContainer drops a container that no longer exists.
func (s *State) WithoutContainer(id string) *State {
	if s.Containers[id] == nil {
		return s
	}
	n := s.successor()
	n.Containers = without(s.Containers, id)
	return n
}

// WithImage adds or updates one observed image.
func (s *State) WithImage(i *Image) *State {
	old := s.Images[i.ID]
	if old != nil && i.Doc == nil {
		i.Doc = old.Doc
	}
	if same(old, i) {
		return s
	}
	n := s.successor()
	n.ImageRevision++
	n.Images = with(s.Images, i.ID, i)
	n.moveTags(i)
	return n
}

// moveTags removes the tags of an image from all other images. A tag names one image only, and the engine does not
// report which image lost it.
func (s *State) moveTags(to *Image) {
	moved := func(tag string) bool { return slices.Contains(to.Tags, tag) }
	for id, image := range s.Images {
		if image != to && slices.ContainsFunc(image.Tags, moved) {
			other := *image
			other.Tags = slices.DeleteFunc(slices.Clone(image.Tags), moved)
			s.Images[id] = &other
		}
	}
}

// WithoutImage drops an image that no longer exists.
func (s *State) WithoutImage(id string) *State {
	if s.Images[id] == nil {
		return s
	}
	n := s.successor()
	n.ImageRevision++
	n.Images = without(s.Images, id)
	return n
}

// WithNetwork adds or updates one observed network.
func (s *State) WithNetwork(x *Network) *State {
	if same(s.Networks[x.ID], x) {
		return s
	}
	n := s.successor()
	n.Networks = with(s.Networks, x.ID, x)
	return n
}

// WithoutNetwork drops a network that no longer exists.
func (s *State) WithoutNetwork(id string) *State {
	if s.Networks[id] == nil {
		return s
	}
	n := s.successor()
	n.Networks = without(s.Networks, id)
	return n
}

// WithVolume adds or updates one observed volume.
func (s *State) WithVolume(v *Volume) *State {
	if same(s.Volumes[v.Name], v) {
		return s
	}
	n := s.successor()
	n.Volumes = with(s.Volumes, v.Name, v)
	return n
}

// WithoutVolume drops a volume that no longer exists.
func (s *State) WithoutVolume(name string) *State {
	if s.Volumes[name] == nil {
		return s
	}
	n := s.successor()
	n.Volumes = without(s.Volumes, name)
	return n
}

// WithRecords replaces the image records.
func (s *State) WithRecords(records map[string]Record) *State {
	n := s.successor()
	n.ImageRevision++
	n.Records = records
	return n
}

// WithAltered records how the engine created an object otherwise than requested; an empty value says that it did not.
// It drops the entries of objects that no longer exist.
func (s *State) WithAltered(id string, a compose.Altered) *State {
	n := s.successor()
	n.Altered = make(map[string]compose.Altered, len(s.Altered)+1)
	for id, a := range s.Altered {
		if s.Containers[id] != nil || s.Networks[id] != nil || s.Volumes[id] != nil {
			n.Altered[id] = a
		}
	}
	if n.Altered[id] = a; len(a) == 0 {
		delete(n.Altered, id)
	}
	return n
}

// WithCommits replaces the commits.
func (s *State) WithCommits(commits map[string]string) *State {
	n := s.successor()
	n.Commits = commits
	return n
}

// WithAnonymous replaces the anonymous volumes that outlive their container.
func (s *State) WithAnonymous(volumes map[string]Anonymous) *State {
	n := s.successor()
	n.Anonymous = volumes
	return n
}

// WithStops replaces the stops.
func (s *State) WithStops(stops map[string]Stop) *State {
	n := s.successor()
	n.Stops = stops
	return n
}

// Stopped reports whether the agent requested a stop of the current or last run of a container, and whether it did so
// for a user.
func (s *State) Stopped(c *Container) (stopped, user bool) {
	stop, found := s.Stops[c.ID]
	stopped = found && stop.Run.Equal(c.StartedAt)
	return stopped, stopped && stop.User
}

// WithPull records a running download or its progress.
func (s *State) WithPull(ref string, p Pull) *State {
	n := s.successor()
	n.Pulls = with(s.Pulls, ref, p)
	return n
}

// WithoutPull records that a download ended.
func (s *State) WithoutPull(ref string) *State {
	if _, running := s.Pulls[ref]; !running {
		return s
	}
	n := s.successor()
	n.Pulls = without(s.Pulls, ref)
	return n
}

// WithDoing records work on a container that the engine does not show yet.
func (s *State) WithDoing(subject string, d Doing) *State {
	n := s.successor()
	n.Doing = with(s.Doing, subject, d)
	return n
}

// WithoutDoing records that the work ended.
func (s *State) WithoutDoing(subject string) *State {
	if _, running := s.Doing[subject]; !running {
		return s
	}
	n := s.successor()
	n.Doing = without(s.Doing, subject)
	return n
}

// WithDeleting records whether an image reference is being removed.
func (s *State) WithDeleting(ref string, deleting bool) *State {
	n := s.successor()
	if deleting {
		n.Deleting = with(s.Deleting, ref, true)
	} else {
		n.Deleting = without(s.Deleting, ref)
	}
	return n
}

// successor is a copy of the state with the next revision.
func (s *State) successor() *State {
	n := *s
	n.Revision++
	return &n
}

func same[T any](a, b *T) bool { return a != nil && reflect.DeepEqual(a, b) }

func with[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	c := maps.Clone(m)
	if c == nil {
		c = make(map[K]V, 1)
	}
	c[key] = value
	return c
}

func without[K comparable, V any](m map[K]V, key K) map[K]V {
	c := maps.Clone(m)
	delete(c, key)
	return c
}

func index[T any](list []*T, key func(*T) string) map[string]*T {
	m := make(map[string]*T, len(list))
	for _, v := range list {
		m[key(v)] = v
	}
	return m
}
