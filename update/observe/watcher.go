// Package observe keeps the current state true to the engine: it follows the event stream, inspects what changed,
// and holds the result in a Store. It changes nothing on the engine.
package observe

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/retry"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/userlog"
)

// Watcher follows the engine. It lists everything once when the event stream opens, and then inspects each object
// that an event or a step is about. The result of an inspection never replaces that of a later one. Its methods are
// safe for concurrent use.
type Watcher struct {
	engine *engine.Client
	store  *Store
	log    zerolog.Logger
	exits  *exitReporter
	stream *liveness
	kick   chan struct{}
	since  time.Time // of the last event; belongs to the goroutine of Run

	mu      sync.Mutex
	pending map[Object]time.Time // to be inspected, and the time of the event; zero means: whatever was seen
	held    map[string]int       // containers that a step works on: the step inspects them when it is done
	queue   inspections
	down    string // why the engine cannot be reached, empty when it can
}

// inspections are those under way, in their order.
type inspections struct {
	clock    uint64 // grows with every inspection
	underWay int
	listing  bool                 // one of Everything is under way
	seen     map[Object]uint64    // the newest result of each object
	began    map[Object]time.Time // when the last inspection of each object began, for a while
}

// Object is one object of the engine.
type Object struct{ kind, id string }

// Everything stands for a listing of all objects.
var Everything = Object{kind: "everything"}

// Container is the container with an id or a name.
func Container(id string) Object { return Object{"container", id} }

// Image is the image with an id or a name.
func Image(ref string) Object { return Object{"image", ref} }

// Network is the network with an id or a name.
func Network(id string) Object { return Object{"network", id} }

// Volume is the volume with a name.
func Volume(name string) Object { return Object{"volume", name} }

// PendingCreate stands for a container that a step is creating and whose id it does not know yet.
const PendingCreate = ""

// NewWatcher is a watcher that writes what it finds into a store, and says by a voice when services exit and start
// again.
func NewWatcher(e *engine.Client, s *Store, say userlog.Voice, log zerolog.Logger) *Watcher {
	return &Watcher{
		engine: e, store: s, log: log, exits: newExitReporter(say), stream: newLiveness(),
		kick: make(chan struct{}, 1), down: notConnected,
		pending: make(map[Object]time.Time), held: make(map[string]int),
		queue: inspections{seen: make(map[Object]uint64), began: make(map[Object]time.Time)},
	}
}

const notConnected = "not connected yet"

// The bounds of the pause between two attempts to reach the engine.
const (
	minPause = time.Second
	maxPause = 8 * time.Second
)

// errSilent is why the agent ended a stream that did not tell what happened.
var errSilent = errors.New("the event stream fell silent")

// Run follows the engine until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	go w.inspectPending(ctx)
	delay := minPause
	for {
		began := time.Now()
		err, connected := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		w.disconnected(err, connected)
		if connected && time.Since(began) > maxPause {
			delay = minPause
		}
		retry.Sleep(ctx, delay)
		delay = min(delay*2, maxPause)
	}
}

// follow takes events until the stream ends, or until it is known to be silent.
func (w *Watcher) follow(ctx context.Context) (err error, connected bool) {
	stream, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer w.stream.close()
	err = w.engine.Events(stream, w.since, func() {
		connected = true
		w.stream.open(func() { end(errSilent) })
		w.connected()
	}, w.event)
	if cause := context.Cause(stream); cause != nil {
		err = cause
	}
	return err, connected
}

func (w *Watcher) connected() {
	w.mu.Lock()
	w.down = ""
	w.mu.Unlock()
	w.log.Info().Msg("connected to the container engine")
	w.Enqueue(Everything)
}

func (w *Watcher) disconnected(err error, connected bool) {
	text := "the event stream ended"
	if err != nil {
		text = err.Error()
	}
	w.mu.Lock()
	changed := w.down == "" || connected || w.down == notConnected
	w.down = text
	w.mu.Unlock()
	switch {
	case err == errSilent:
		w.log.Warn().Str("reason", text).Msg("replacing the event stream of the engine")
	case changed:
		w.log.Warn().Str("err", text).Msg("cannot reach the container engine, will retry")
	}
	w.store.Update((*current.State).Unsynced)
}

// EngineError tells why the engine cannot be reached, empty when it can.
func (w *Watcher) EngineError() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

// event notes what an event is about. The inspection itself happens in inspectPending.
func (w *Watcher) event(e doc.Event) {
	var at time.Time
	if e.TimeNano > 0 {
		at = time.Unix(0, e.TimeNano)
		w.since = at
	}
	o, ours := w.subject(e)
	if e.Type == "container" {
		w.stream.hear(e.Actor.ID)
		if ours && w.exits.event(e) {
			w.store.UpdateQuietly(func(s *current.State) *current.State { return s.WithStart(e.Actor.ID) })
		}
	}
	if ours {
		w.noticed(o, at)
	}
}

// subject is the object that an event asks to inspect.
func (w *Watcher) subject(e doc.Event) (o Object, ours bool) {
	switch e.Type {
	case "container":
		return Container(e.Actor.ID), containerChanged(e.Action) && current.Supervised(e.Actor.Attributes)
	case "network":
		if e.Action != "connect" && e.Action != "disconnect" {
			return Network(e.Actor.ID), true
		}
		id := e.Actor.Attributes["container"]
		return Container(id), w.store.Load().Containers[id] != nil
	case "volume":
		// The engine sends the event of a creation also when a container begins to use a volume that exists.
		return Volume(e.Actor.ID), e.Action == "destroy" || e.Action == "create" && w.store.Load().Volumes[e.Actor.ID] == nil
	case "image":
		return Image(e.Actor.ID), e.Action != "push" && e.Action != "save"
	}
	return Object{}, false
}

func containerChanged(action string) bool {
	switch action {
	case "create", "start", "die", "destroy", "rename", "update", "pause", "unpause", "restart":
		return true
	}
	return strings.HasPrefix(action, "health_status")
}
