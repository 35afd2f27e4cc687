package update

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

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
	pulse   *pulse
	kick    chan struct{}

	mu      sync.Mutex
	pending map[object]time.Time // to be looked at, and since when; the zero time means whatever was seen
	held    map[string]int       // containers a step works on: it looks at them itself when done
	clock   uint64               // grows with every look
	looking int                  // looks under way
	seen    map[object]uint64
	looked  map[object]time.Time // when the last look at an object began, of late
	listing bool
	down    string // why the engine is out of reach, empty when it is not
	since   time.Time
}

// object is one engine object, by kind (the engine's event types) and id.
type object struct{ kind, id string }

// everything stands for a listing of all objects.
var everything = object{kind: "everything"}

// newcomer stands for a container that a step makes and whose id it does not know yet.
const newcomer = ""

func newWatch(e *engine.Client, c *cell, say voice, log zerolog.Logger) *watch {
	return &watch{
		engine: e, cell: c, log: log, witness: newWitness(say), pulse: newPulse(), kick: make(chan struct{}, 1), down: "not connected yet",
		pending: make(map[object]time.Time), held: make(map[string]int), seen: make(map[object]uint64), looked: make(map[object]time.Time),
	}
}

// reconnect bounds the wait between two attempts to reach the engine.
const (
	reconnectMin = time.Second
	reconnectMax = 8 * time.Second
)

// errSilent is why a stream was ended that did not tell what happened.
var errSilent = errors.New("the event stream fell silent")

// run follows the engine until ctx ends.
func (w *watch) run(ctx context.Context) {
	go w.work(ctx)
	delay := reconnectMin
	for {
		began := time.Now()
		err, connected := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		w.disconnected(err, connected)
		if connected && time.Since(began) > reconnectMax {
			delay = reconnectMin
		}
		pause(ctx, delay)
		delay = min(delay*2, reconnectMax)
	}
}

// follow takes events until the stream ends, or until it is known to be silent.
func (w *watch) follow(ctx context.Context) (err error, connected bool) {
	stream, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	defer w.pulse.close()
	err = w.engine.Events(stream, w.since, func() {
		connected = true
		w.pulse.open(func() { cut(errSilent) })
		w.connected()
	}, w.event)
	if cause := context.Cause(stream); cause != nil {
		err = cause
	}
	return err, connected
}

// pause waits for a while, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
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
	switch {
	case err == errSilent:
		w.log.Warn().Str("reason", text).Msg("the event stream of the engine is replaced")
	case changed:
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
	var at time.Time
	if e.TimeNano > 0 {
		at = time.Unix(0, e.TimeNano)
		w.since = at
	}
	o, ours := w.subject(e)
	if e.Type == "container" {
		w.pulse.hear(e.Actor.ID)
		if ours && w.witness.event(e) {
			w.cell.note(func(s *current.State) *current.State { return s.WithStart(e.Actor.ID) })
		}
	}
	if ours {
		w.noticed(o, at)
	}
}

// subject is the object that an event asks to be looked at.
func (w *watch) subject(e doc.Event) (object, bool) {
	switch e.Type {
	case "container":
		return object{"container", e.Actor.ID}, containerChanged(e.Action) && current.Supervised(e.Actor.Attributes)
	case "network":
		if e.Action != "connect" && e.Action != "disconnect" {
			return object{"network", e.Actor.ID}, true
		}
		id := e.Actor.Attributes["container"]
		return object{"container", id}, w.cell.load().Containers[id] != nil
	case "volume":
		// The engine tells of a creation also when a container begins to use a volume that is there.
		return object{"volume", e.Actor.ID}, e.Action == "destroy" || e.Action == "create" && w.cell.load().Volumes[e.Actor.ID] == nil
	case "image":
		return object{"image", e.Actor.ID}, e.Action != "push" && e.Action != "save"
	}
	return object{}, false
}

func containerChanged(action string) bool {
	switch action {
	case "create", "start", "die", "destroy", "rename", "update", "pause", "unpause", "restart":
		return true
	}
	return strings.HasPrefix(action, "health_status")
}
