package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// handlers is what the handlers of the table share.
type handlers struct {
	_       incomparable
	apps    Apps
	keys    Keys
	known   Device
	life    context.Context // of the server: actions outlive their clients
	actions chan struct{}   // one entry for each running action
	room    *room           // of the bodies being read
	posting sync.Mutex      // held while a target is taken over: that costs several times its size
	streams chan struct{}   // one entry for each endless answer, but for those of the journal
	readers chan struct{}   // one entry for each of those
	// patience is how long one write of an endless answer may take.
	patience time.Duration
	cached   atomic.Pointer[deviceAnswer]
	answers  answers
	began    time.Time
}

func newHandlers(apps Apps, keys Keys, device Device, actions int) *handlers {
	return &handlers{
		apps:    apps,
		keys:    keys,
		known:   device,
		actions: make(chan struct{}, actions),
		room:    newRoom(),
		streams: make(chan struct{}, maxStreams),
		readers: make(chan struct{}, maxJournals),
		began:   time.Now(),
	}
}

// act runs an action to its end and answers with then, or with what went wrong. Only so many run
// at once that reads always find a free connection.
func (h *handlers) act(action func(context.Context) error, then func() Answer) Answer {
	if err := h.carryOut(action); err != nil {
		return problem(err)
	}
	return then()
}

func (h *handlers) carryOut(action func(context.Context) error) error {
	select {
	case h.actions <- struct{}{}:
		defer func() { <-h.actions }()
		return action(h.life)
	default:
		return view.Refusal(textBusy)
	}
}

// problem is the answer to a failed action: E4 for a lock, E5 for the rest
// (docs/spec/device-api.md 1.9).
func problem(err error) Answer {
	var locked *view.LockedError
	if errors.As(err, &locked) {
		return fail(fasthttp.StatusLocked, locked.Text)
	}
	return fail(fasthttp.StatusServiceUnavailable, err.Error())
}

// listPatience is how long after the start requests wait for the engine to be listed.
const listPatience = 5 * time.Second

// synced is the newest picture; until the engine was listed once there is none to answer from. Right
// after the start that is waited for.
func (h *handlers) synced() (*view.State, Answer, bool) {
	state := h.apps.View()
	if left := listPatience - time.Since(h.began); !state.Synced && left > 0 {
		late := time.NewTimer(left)
		defer late.Stop()
		select {
		case <-h.apps.Listed():
		case <-late.C:
		case <-h.life.Done():
		}
		state = h.apps.View()
	}
	if state.Synced {
		return state, Answer{}, true
	}
	message := view.ErrEngineDown.Error()
	if state.EngineError != "" {
		message += ": " + state.EngineError
	}
	return nil, fail(fasthttp.StatusServiceUnavailable, message), false
}

// ping answers as long as the process serves HTTP (docs/spec/device-api.md 2.1).
func (h *handlers) ping(*call) Answer { return done() }

// healthy tells the container runtime whether to restart us (docs/spec/device-api.md 2.2).
func (h *handlers) healthy(*call) Answer {
	if !h.known.Healthy() {
		return refuse(fasthttp.StatusInternalServerError, "Unhealthy")
	}
	return done()
}

// update asks for a poll now (docs/spec/device-api.md 2.4).
func (h *handlers) update(c *call) Answer {
	if !h.apps.Trigger(c.force(), truthy(c.body["cancel"])) {
		return refuse(fasthttp.StatusAccepted, "Accepted")
	}
	return Answer{Status: fasthttp.StatusNoContent}
}

// regenerate replaces the key that made the call (docs/spec/device-api.md 2.10). Of several calls with one
// key at the same time the first replaces it, and the others come with a key that is not valid any more.
func (h *handlers) regenerate(c *call) Answer {
	if c.caller.key == "" {
		return fail(fasthttp.StatusBadRequest, textNoKeyToRenew)
	}
	key, err := h.keys.Regenerate(c.caller.key)
	if errors.Is(err, ErrUnknownKey) {
		return deniedText(0)
	}
	if err != nil {
		return problem(err)
	}
	return refuse(fasthttp.StatusOK, key)
}
