package observe

import (
	"context"
	"errors"
	"strings"
	"sync"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
)

// read reads one object and returns what it changes in the current state, nil for an object that is
// not ours.
func (w *Watcher) read(ctx context.Context, o Object) (func(*current.State) *current.State, error) {
	switch o.kind {
	case "container":
		return w.readContainer(ctx, o.id)
	case "image":
		return w.readImage(ctx, o.id)
	case "network":
		return w.readNetwork(ctx, o.id)
	case "volume":
		return w.readVolume(ctx, o.id)
	}
	l, err := w.list(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *current.State) *current.State { return s.WithListing(l) }, nil
}

func (w *Watcher) readContainer(ctx context.Context, id string) (func(*current.State) *current.State, error) {
	d, err := w.engine.Container(ctx, id)
	if engine.IsNotFound(err) {
		return func(s *current.State) *current.State { return s.WithoutContainer(id) }, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := current.ReadContainer(d)
	if err != nil {
		w.ignored(err)
		return nil, nil
	}
	return func(s *current.State) *current.State { return s.WithContainer(c) }, nil
}

func (w *Watcher) readImage(ctx context.Context, ref string) (func(*current.State) *current.State, error) {
	d, err := w.engine.Image(ctx, ref)
	if engine.IsNotFound(err) {
		return func(s *current.State) *current.State { return s.WithoutImage(ref) }, nil
	}
	if err != nil {
		return nil, err
	}
	image := current.ReadImageDoc(d)
	return func(s *current.State) *current.State { return s.WithImage(image) }, nil
}

func (w *Watcher) readNetwork(ctx context.Context, id string) (func(*current.State) *current.State, error) {
	d, err := w.engine.Network(ctx, id)
	if engine.IsNotFound(err) {
		return func(s *current.State) *current.State { return s.WithoutNetwork(id) }, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := current.ReadNetwork(d)
	if err != nil {
		w.ignored(err)
		return nil, nil
	}
	return func(s *current.State) *current.State { return s.WithNetwork(n) }, nil
}

func (w *Watcher) readVolume(ctx context.Context, name string) (func(*current.State) *current.State, error) {
	d, err := w.engine.Volume(ctx, name)
	if engine.IsNotFound(err) {
		return func(s *current.State) *current.State { return s.WithoutVolume(name) }, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := current.ReadVolume(d)
	if err != nil {
		return nil, nil
	}
	return func(s *current.State) *current.State { return s.WithVolume(v) }, nil
}

// ignored logs an object that claims to be ours and cannot be placed.
func (w *Watcher) ignored(err error) {
	if !errors.Is(err, current.ErrForeign) {
		w.log.Warn().Err(err).Msg("supervised object ignored")
	}
}

// supervisedLabels are the two ways in which an object is marked as ours (docs/spec/engine.md 2.5).
var supervisedLabels = [...]string{"io.balena.supervised", "io.resin.supervised"}

// list reads everything once. Containers need a look each, which go side by side.
func (w *Watcher) list(ctx context.Context) (current.Listing, error) {
	var l current.Listing
	var errs [6]error
	var wg sync.WaitGroup
	wg.Go(func() { l.Containers, errs[0] = w.listContainers(ctx) })
	wg.Go(func() { l.Images, errs[1] = w.listImages(ctx) })
	wg.Go(func() { l.Networks, errs[2] = w.listNetworks(ctx) })
	wg.Go(func() { l.Volumes, errs[3] = w.listVolumes(ctx) })
	wg.Go(func() {
		info, err := w.engine.Info(ctx)
		l.NoOomKill, l.Machine, errs[4] = !info.OomKillDisable, info.Architecture, err
	})
	wg.Go(func() {
		v, err := w.engine.Negotiate(ctx)
		l.Deltas, errs[5] = makesDeltas(v), err
	})
	wg.Wait()
	return l, errors.Join(errs[:]...)
}

// makesDeltas recognises the one engine that can make an image from a delta (docs/spec/engine.md 8.5).
func makesDeltas(v doc.Version) bool {
	for _, c := range v.Components {
		if strings.HasPrefix(strings.ToLower(c.Name), "balena") {
			return true
		}
	}
	return false
}

func (w *Watcher) listContainers(ctx context.Context) ([]*current.Container, error) {
	found, err := w.summaries(ctx)
	if err != nil {
		return nil, err
	}
	return w.inspectAll(ctx, found)
}

// summaries lists the supervised containers: id and state, in the engine's words.
func (w *Watcher) summaries(ctx context.Context) (map[string]string, error) {
	states := make(map[string]string)
	for _, label := range supervisedLabels {
		found, err := w.engine.Containers(ctx, label)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			states[c.Id] = c.State
		}
	}
	return states, nil
}

// inspectAll reads containers four at a time; one that vanished meanwhile is left out. After an error
// no further one is asked for.
func (w *Watcher) inspectAll(ctx context.Context, ids map[string]string) ([]*current.Container, error) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		found []*current.Container
		first error
	)
	slots := make(chan struct{}, 4)
	failed := func() bool { mu.Lock(); defer mu.Unlock(); return first != nil }
	for id := range ids {
		if slots <- struct{}{}; failed() {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			d, err := w.engine.Container(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if !engine.IsNotFound(err) {
					first = errors.Join(first, err)
				}
				return
			}
			if c, err := current.ReadContainer(d); err == nil {
				found = append(found, c)
			} else {
				w.ignored(err)
			}
		})
	}
	wg.Wait()
	return found, first
}

func (w *Watcher) listImages(ctx context.Context) ([]*current.Image, error) {
	all, err := w.engine.Images(ctx)
	images := make([]*current.Image, 0, len(all))
	for _, i := range all {
		images = append(images, current.ReadImage(i))
	}
	return images, err
}

func (w *Watcher) listNetworks(ctx context.Context) ([]*current.Network, error) {
	var networks []*current.Network
	known := make(map[string]bool)
	for _, label := range supervisedLabels {
		found, err := w.engine.Networks(ctx, label)
		if err != nil {
			return nil, err
		}
		for i := range found {
			networks = w.addNetwork(networks, known, &found[i])
		}
	}
	d, err := w.engine.Network(ctx, compose.SupervisorNetworkName)
	if err == nil {
		networks = w.addNetwork(networks, known, d)
	} else if !engine.IsNotFound(err) {
		return nil, err
	}
	return networks, nil
}

func (w *Watcher) addNetwork(list []*current.Network, known map[string]bool, d *doc.Network) []*current.Network {
	if known[d.Id] {
		return list
	}
	known[d.Id] = true
	n, err := current.ReadNetwork(d)
	if err != nil {
		w.ignored(err)
		return list
	}
	return append(list, n)
}

func (w *Watcher) listVolumes(ctx context.Context) ([]*current.Volume, error) {
	all, err := w.engine.Volumes(ctx)
	var volumes []*current.Volume
	for i := range all {
		if v, err := current.ReadVolume(&all[i]); err == nil {
			volumes = append(volumes, v)
		}
	}
	return volumes, err
}
