package update

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
)

// watch keeps the current state true to the engine: one listing when the event stream opens, then
// one look at each object an event or a step is about. Looks at one object never overtake each
// other: the result of an older one is dropped.
type watch struct {
	engine  *engine.Client
	cell    *cell
	log     zerolog.Logger
	witness *witness
	kick    chan struct{}

	mu      sync.Mutex
	pending map[object]bool // to be looked at; `everything` asks for a listing
	held    map[string]int  // containers a step works on: it looks at them itself when done
	clock   uint64          // grows with every look
	looking int             // looks under way
	seen    map[object]uint64
	listing bool
	down    string // why the engine is out of reach, empty when it is not
	since   time.Time
}

// object is one engine object, by kind (the engine's event types) and id.
type object struct{ kind, id string }

var everything = object{kind: "everything"}

func newWatch(e *engine.Client, c *cell, say voice, log zerolog.Logger) *watch {
	return &watch{
		engine: e, cell: c, log: log, witness: newWitness(say), kick: make(chan struct{}, 1), down: "not connected yet",
		pending: make(map[object]bool), held: make(map[string]int), seen: make(map[object]uint64),
	}
}

// reconnect bounds the wait between two attempts to reach the engine.
const (
	reconnectMin = time.Second
	reconnectMax = 8 * time.Second
)

// run follows the engine until ctx ends.
func (w *watch) run(ctx context.Context) {
	go w.work(ctx)
	delay := reconnectMin
	for ctx.Err() == nil {
		connected := false
		err := w.engine.Events(ctx, w.since, func() {
			connected = true
			w.connected()
		}, w.event)
		if ctx.Err() != nil {
			return
		}
		w.disconnected(err, connected)
		if connected {
			delay = reconnectMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(delay*2, reconnectMax)
	}
}

func (w *watch) connected() {
	w.mu.Lock()
	w.down = ""
	w.mu.Unlock()
	w.log.Info().Msg("connected to the container engine")
	w.enqueue(everything)
}

func (w *watch) disconnected(err error, connected bool) {
	text := "the event stream ended"
	if err != nil {
		text = err.Error()
	}
	w.mu.Lock()
	changed := w.down == "" || connected || w.down == "not connected yet"
	w.down = text
	w.mu.Unlock()
	if changed {
		w.log.Warn().Str("err", text).Msg("the container engine is out of reach, waiting for it")
	}
	w.cell.fold((*current.State).Unsynced)
}

// engineError tells why the engine is out of reach, empty when it is not.
func (w *watch) engineError() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

// event notes what an event is about; the look itself happens in work.
func (w *watch) event(e doc.Event) {
	if e.TimeNano > 0 {
		w.since = time.Unix(0, e.TimeNano)
	}
	switch e.Type {
	case "container":
		if containerChanged(e.Action) && current.Supervised(e.Actor.Attributes) {
			if e.Action == "start" {
				w.cell.note(func(s *current.State) *current.State { return s.WithStart(e.Actor.ID) })
			}
			w.enqueue(object{"container", e.Actor.ID})
			w.witness.event(e)
		}
	case "network":
		if e.Action == "connect" || e.Action == "disconnect" {
			w.endpoint(e.Actor.Attributes["container"])
		} else {
			w.enqueue(object{"network", e.Actor.ID})
		}
	case "volume":
		if e.Action == "create" || e.Action == "destroy" {
			w.enqueue(object{"volume", e.Actor.ID})
		}
	case "image":
		if e.Action != "push" && e.Action != "save" {
			w.enqueue(object{"image", e.Actor.ID})
		}
	}
}

// endpoint looks again at a known container that joined or left a network.
func (w *watch) endpoint(id string) {
	if w.cell.load().Containers[id] != nil {
		w.enqueue(object{"container", id})
	}
}

func containerChanged(action string) bool {
	switch action {
	case "create", "start", "die", "destroy", "rename", "update", "pause", "unpause", "restart":
		return true
	}
	return strings.HasPrefix(action, "health_status")
}

func (w *watch) enqueue(o object) {
	w.mu.Lock()
	w.pending[o] = true
	w.mu.Unlock()
	w.nudge()
}

func (w *watch) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// hold keeps events from causing looks at a container while a step works on it.
func (w *watch) hold(id string) {
	w.mu.Lock()
	w.held[id]++
	w.mu.Unlock()
}

// unhold ends hold; what happened since the step's own last look is looked at now.
func (w *watch) unhold(id string) {
	w.mu.Lock()
	if w.held[id]--; w.held[id] == 0 {
		delete(w.held, id)
	}
	again := w.pending[object{"container", id}]
	w.mu.Unlock()
	if again {
		w.nudge()
	}
}

// work looks at pending objects, one at a time.
func (w *watch) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		}
		for o, ok := w.take(); ok && ctx.Err() == nil; o, ok = w.take() {
			w.settle(ctx, o)
		}
	}
}

// settle looks at one object. A look that fails leaves the state unsure, so everything is listed
// again; the wait keeps a failing engine from being asked without pause.
func (w *watch) settle(ctx context.Context, o object) {
	err := w.look(ctx, o)
	if err == nil || ctx.Err() != nil {
		return
	}
	w.log.Warn().Err(err).Str("kind", o.kind).Str("id", o.id).Msg("look at the engine did not succeed")
	select {
	case <-ctx.Done():
	case <-time.After(reconnectMin):
	}
	if w.engineError() == "" {
		w.enqueue(everything)
	}
}

func (w *watch) take() (object, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending[everything] {
		clear(w.pending)
		return everything, true
	}
	for o := range w.pending {
		if o.kind != "container" || w.held[o.id] == 0 {
			return o, true
		}
	}
	return object{}, false
}

// look reads one object from the engine and folds what it found into the current state.
func (w *watch) look(ctx context.Context, o object) error {
	at := w.begin(o)
	change, err := w.read(ctx, o)
	w.end(o, at, change)
	return err
}

func (w *watch) begin(o object) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, o)
	w.listing = w.listing || o == everything
	w.looking++
	w.clock++
	return w.clock
}

func (w *watch) end(o object, at uint64, change func(*current.State) *current.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if change != nil && w.seen[o] <= at {
		w.seen[o] = at
		w.cell.fold(change)
	}
	switch {
	case o == everything:
		w.listing = false
	case w.listing: // the listing may have been read before this look: look once more after it
		w.pending[o] = true
		w.nudge()
	}
	if w.looking--; w.looking == 0 {
		clear(w.seen)
	}
}

func (w *watch) read(ctx context.Context, o object) (func(*current.State) *current.State, error) {
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

func (w *watch) readContainer(ctx context.Context, id string) (func(*current.State) *current.State, error) {
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

func (w *watch) readImage(ctx context.Context, ref string) (func(*current.State) *current.State, error) {
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

func (w *watch) readNetwork(ctx context.Context, id string) (func(*current.State) *current.State, error) {
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

func (w *watch) readVolume(ctx context.Context, name string) (func(*current.State) *current.State, error) {
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
func (w *watch) ignored(err error) {
	if !errors.Is(err, current.ErrForeign) {
		w.log.Warn().Err(err).Msg("supervised object ignored")
	}
}

// supervisedLabels are the two ways in which an object is marked as ours (spec/engine.md 2.5).
var supervisedLabels = [...]string{"io.balena.supervised", "io.resin.supervised"}

// list reads everything once. Containers need a look each, which go side by side.
func (w *watch) list(ctx context.Context) (current.Listing, error) {
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

// makesDeltas recognises the one engine that can make an image from a delta (spec/engine.md 8.5).
func makesDeltas(v doc.Version) bool {
	for _, c := range v.Components {
		if strings.HasPrefix(strings.ToLower(c.Name), "balena") {
			return true
		}
	}
	return false
}

func (w *watch) listContainers(ctx context.Context) ([]*current.Container, error) {
	ids := make(map[string]bool)
	for _, label := range supervisedLabels {
		found, err := w.engine.Containers(ctx, label)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			ids[c.Id] = true
		}
	}
	return w.inspectAll(ctx, ids)
}

// inspectAll reads containers four at a time; one that vanished meanwhile is left out.
func (w *watch) inspectAll(ctx context.Context, ids map[string]bool) ([]*current.Container, error) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		found []*current.Container
		first error
	)
	slots := make(chan struct{}, 4)
	for id := range ids {
		slots <- struct{}{}
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

func (w *watch) listImages(ctx context.Context) ([]*current.Image, error) {
	all, err := w.engine.Images(ctx)
	images := make([]*current.Image, 0, len(all))
	for _, i := range all {
		images = append(images, current.ReadImage(i))
	}
	return images, err
}

func (w *watch) listNetworks(ctx context.Context) ([]*current.Network, error) {
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

func (w *watch) addNetwork(list []*current.Network, known map[string]bool, d *doc.Network) []*current.Network {
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

func (w *watch) listVolumes(ctx context.Context) ([]*current.Volume, error) {
	all, err := w.engine.Volumes(ctx)
	var volumes []*current.Volume
	for i := range all {
		if v, err := current.ReadVolume(&all[i]); err == nil {
			volumes = append(volumes, v)
		}
	}
	return volumes, err
}
