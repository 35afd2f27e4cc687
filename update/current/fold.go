package current

import (
	"maps"
	"reflect"
	"slices"

	"resin-supervisor/update/compose"
)

// Empty is the state before anything was observed.
func Empty() *State { return &State{} }

// Listing is everything one look at the engine found.
type Listing struct {
	Containers []*Container
	Images     []*Image
	Networks   []*Network
	Volumes    []*Volume
	NoOomKill  bool
	Machine    string
	Deltas     bool
}

// WithListing replaces all engine objects by what a full listing found. Image documents that were
// read before stay attached to their images, since an image id never changes its content.
func (s *State) WithListing(l Listing) *State {
	n := s.next()
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

// Unsynced marks the state as possibly stale: the engine is out of reach.
func (s *State) Unsynced() *State {
	if !s.Synced {
		return s
	}
	n := s.next()
	n.Synced = false
	return n
}

// WithContainer folds in one observed container.
func (s *State) WithContainer(c *Container) *State {
	if same(s.Containers[c.ID], c) {
		return s
	}
	n := s.next()
	n.Containers = with(s.Containers, c.ID, c)
	return n
}

// WithStart notes that the engine started a container, which is a restart when it ran before.
func (s *State) WithStart(id string) *State {
	c := s.Containers[id]
	if c == nil || c.StartedAt.IsZero() {
		return s
	}
	n := s.next()
	slot := Slot(c.AppUUID, c.ServiceName)
	n.Restarts = with(s.Restarts, slot, s.Restarts[slot]+1)
	return n
}

// WithoutContainer drops a container that is gone.
func (s *State) WithoutContainer(id string) *State {
	if s.Containers[id] == nil {
		return s
	}
	n := s.next()
	n.Containers = without(s.Containers, id)
	return n
}

// WithImage folds in one observed image.
func (s *State) WithImage(i *Image) *State {
	old := s.Images[i.ID]
	if old != nil && i.Doc == nil {
		i.Doc = old.Doc
	}
	if same(old, i) {
		return s
	}
	n := s.next()
	n.ImageRevision++
	n.Images = with(s.Images, i.ID, i)
	n.moveTags(i)
	return n
}

// moveTags takes the tags of an image from all others: a tag names one image, and the engine does not
// tell which one has lost it.
func (s *State) moveTags(to *Image) {
	moved := func(tag string) bool { return slices.Contains(to.Tags, tag) }
	for id, image := range s.Images {
		if image != to && slices.ContainsFunc(image.Tags, moved) {
			left := *image
			left.Tags = slices.DeleteFunc(slices.Clone(image.Tags), moved)
			s.Images[id] = &left
		}
	}
}

// WithoutImage drops an image that is gone.
func (s *State) WithoutImage(id string) *State {
	if s.Images[id] == nil {
		return s
	}
	n := s.next()
	n.ImageRevision++
	n.Images = without(s.Images, id)
	return n
}

// WithNetwork folds in one observed network.
func (s *State) WithNetwork(x *Network) *State {
	if same(s.Networks[x.ID], x) {
		return s
	}
	n := s.next()
	n.Networks = with(s.Networks, x.ID, x)
	return n
}

// WithoutNetwork drops a network that is gone.
func (s *State) WithoutNetwork(id string) *State {
	if s.Networks[id] == nil {
		return s
	}
	n := s.next()
	n.Networks = without(s.Networks, id)
	return n
}

// WithVolume folds in one observed volume.
func (s *State) WithVolume(v *Volume) *State {
	if same(s.Volumes[v.Name], v) {
		return s
	}
	n := s.next()
	n.Volumes = with(s.Volumes, v.Name, v)
	return n
}

// WithoutVolume drops a volume that is gone.
func (s *State) WithoutVolume(name string) *State {
	if s.Volumes[name] == nil {
		return s
	}
	n := s.next()
	n.Volumes = without(s.Volumes, name)
	return n
}

// WithRecords replaces the image records.
func (s *State) WithRecords(records map[string]Record) *State {
	n := s.next()
	n.ImageRevision++
	n.Records = records
	return n
}

// WithAltered notes what the engine made otherwise of an object, nothing when it made it as asked. What was
// noted of objects that are gone is dropped.
func (s *State) WithAltered(id string, a compose.Altered) *State {
	n := s.next()
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
	n := s.next()
	n.Commits = commits
	return n
}

// WithAnonymous replaces the anonymous volumes that outlive their container.
func (s *State) WithAnonymous(volumes map[string]Anonymous) *State {
	n := s.next()
	n.Anonymous = volumes
	return n
}

// WithStops replaces the stops.
func (s *State) WithStops(stops map[string]Stop) *State {
	n := s.next()
	n.Stops = stops
	return n
}

// Stopped tells whether the agent asked for the stop of the present or last run of a container, and
// whether a user wanted that.
func (s *State) Stopped(c *Container) (stopped, user bool) {
	stop, noted := s.Stops[c.ID]
	stopped = noted && stop.Run.Equal(c.StartedAt)
	return stopped, stopped && stop.User
}

// WithPull notes a running download, or its progress.
func (s *State) WithPull(ref string, p Pull) *State {
	n := s.next()
	n.Pulls = with(s.Pulls, ref, p)
	return n
}

// WithoutPull notes that a download ended.
func (s *State) WithoutPull(ref string) *State {
	if _, running := s.Pulls[ref]; !running {
		return s
	}
	n := s.next()
	n.Pulls = without(s.Pulls, ref)
	return n
}

// WithDoing notes work on a container that the engine does not show yet.
func (s *State) WithDoing(subject string, d Doing) *State {
	n := s.next()
	n.Doing = with(s.Doing, subject, d)
	return n
}

// WithoutDoing notes that the work ended.
func (s *State) WithoutDoing(subject string) *State {
	if _, running := s.Doing[subject]; !running {
		return s
	}
	n := s.next()
	n.Doing = without(s.Doing, subject)
	return n
}

// WithDeleting notes whether an image reference is being removed.
func (s *State) WithDeleting(ref string, deleting bool) *State {
	n := s.next()
	if deleting {
		n.Deleting = with(s.Deleting, ref, true)
	} else {
		n.Deleting = without(s.Deleting, ref)
	}
	return n
}

func (s *State) next() *State {
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
