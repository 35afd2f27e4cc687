package harness

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
)

// Event is one event of the engine.
type Event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	TimeNano int64 `json:"timeNano"`
}

// Service is the compose service of the container the event is about.
func (e Event) Service() string { return e.Actor.Attributes["io.balena.service-name"] }

// Recorder keeps the engine's events from the moment it was made.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// Record follows the engine's events until the test ends. Events after a restart of the engine
// are not seen.
func (e *Engine) Record(t testing.TB) *Recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer res.Body.Close()
		r.follow(json.NewDecoder(res.Body))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

func (r *Recorder) follow(stream *json.Decoder) {
	for {
		var event Event
		if stream.Decode(&event) != nil {
			return
		}
		r.mu.Lock()
		r.events = append(r.events, event)
		r.mu.Unlock()
	}
}

// Events are the events so far that match the type and, unless empty, the action.
func (r *Recorder) Events(kind, action string) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var matching []Event
	for _, e := range r.events {
		if e.Type == kind && (action == "" || e.Action == action) {
			matching = append(matching, e)
		}
	}
	return matching
}

// Of are the container events of one action that concern one service.
func (r *Recorder) Of(action, service string) []Event {
	var matching []Event
	for _, e := range r.Events("container", action) {
		if e.Service() == service {
			matching = append(matching, e)
		}
	}
	return matching
}
