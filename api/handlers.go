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

// handlers is what the handlers of the route table share.
type handlers struct {
	_              incomparable
	apps           Apps
	keys           Keys
	dev            Device
	ctx            context.Context // of the server: an action goes on when its client has gone
	actions        chan struct{}   // one entry for each running action
	bodies         *budget
	targetMu       sync.Mutex    // held while a target is decoded, which takes several times its size
	logStreams     chan struct{} // one entry for each endless answer of /v2/local/logs
	journalStreams chan struct{} // one entry for each endless answer of /v2/journal-logs
	writeTimeout   time.Duration // of one write of an endless answer
	deviceCache    atomic.Pointer[deviceAnswer]
	answers        answerCounts
	started        time.Time
}

func newHandlers(apps Apps, keys Keys, device Device, actions int) *handlers {
	return &handlers{
		apps:           apps,
		keys:           keys,
		dev:            device,
		actions:        make(chan struct{}, actions),
		bodies:         newBudget(),
		logStreams:     make(chan struct{}, maxLogStreams),
		journalStreams: make(chan struct{}, maxJournalStreams),
		started:        time.Now(),
	}
}

// act runs an action to its end and answers with then, or with the error.
func (h *handlers) act(action func(context.Context) error, then func() Answer) Answer {
	if err := h.runAction(action); err != nil {
		return actionError(err)
	}
	return then()
}

// runAction refuses an action when too many run already, so that reads always find a free connection.
func (h *handlers) runAction(action func(context.Context) error) error {
	select {
	case h.actions <- struct{}{}:
		defer func() { <-h.actions }()
		return action(h.ctx)
	default:
		return view.Refusal(textBusy)
	}
}

// actionError answers a failed action: E4 for a lock, E5 for the rest (docs/spec/device-api.md 1.9).
func actionError(err error) Answer {
	var locked *view.LockedError
	if errors.As(err, &locked) {
		return fail(fasthttp.StatusLocked, locked.Text)
	}
	return fail(fasthttp.StatusServiceUnavailable, err.Error())
}

// listTimeout is how long after the start requests wait for the first listing of the engine.
const listTimeout = 5 * time.Second

// syncedView is the newest view, or the answer to give while the engine has not been listed yet. Right after the
// start it waits for the first listing.
func (h *handlers) syncedView() (*view.State, Answer, bool) {
	state := h.apps.View()
	if left := listTimeout - time.Since(h.started); !state.Synced && left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-h.apps.Listed():
		case <-timer.C:
		case <-h.ctx.Done():
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
	if !h.dev.Healthy() {
		return textAnswer(fasthttp.StatusInternalServerError, "Unhealthy")
	}
	return done()
}

// update asks for a poll now (docs/spec/device-api.md 2.4).
func (h *handlers) update(c *call) Answer {
	if !h.apps.Trigger(c.force(), truthy(c.body["cancel"])) {
		return textAnswer(fasthttp.StatusAccepted, "Accepted")
	}
	return Answer{Status: fasthttp.StatusNoContent}
}

// regenerate replaces the key that made the call (docs/spec/device-api.md 2.10). When several calls come with one
// key at the same time, the first replaces it, and the others are refused because their key is not valid any more.
func (h *handlers) regenerate(c *call) Answer {
	if c.caller.key == "" {
		return fail(fasthttp.StatusBadRequest, textNoKeyToRenew)
	}
	key, err := h.keys.Regenerate(c.caller.key)
	if errors.Is(err, ErrUnknownKey) {
		return deniedText(0)
	}
	if err != nil {
		return actionError(err)
	}
	return textAnswer(fasthttp.StatusOK, key)
}
