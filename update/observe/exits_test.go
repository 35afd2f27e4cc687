package observe

import (
	"slices"
	"testing"
	"time"

	"resin-supervisor/update/engine/doc"
)

func TestExitsAndRestartsAreSaid(t *testing.T) {
	var words []string
	say := func(text string, _ bool) { words = append(words, text) }
	said := func() []string { now := words; words = nil; return now }
	w := newExitReporter(say)
	at := int64(0)
	f := func(action, id string, want ...string) {
		t.Helper()
		at++
		w.event(doc.Event{Type: "container", Action: action, TimeNano: at, Actor: doc.Actor{ID: id, Attributes: map[string]string{
			"image": "sha256:1", "io.resin.service-name": "web", "io.resin.supervised": "1"}}})
		if got := said(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", action, got, want)
		}
	}
	f("start", "1")
	f("die", "1", "Service exited 'web sha256:1'")
	f("start", "2")
	f("start", "1", "Restarting service 'web sha256:1'")
	f("start", "1")
	f("die", "1", "Service exited 'web sha256:1'")
	at -= 2 // a stream that is opened again begins with the last event
	f("die", "1")
	at++
	f("destroy", "1")
	f("start", "1")
	at += int64(24 * time.Hour)
	f("die", "1", "Service exited 'web sha256:1'")
	at -= int64(23 * time.Hour) // the clock was wrong and is set back
	f("start", "1", "Restarting service 'web sha256:1'")
	f("die", "1", "Service exited 'web sha256:1'")
	at-- // at the same time, and then in another order than they happened
	f("die", "2", "Service exited 'web sha256:1'")
	f("die", "4", "Service exited 'web sha256:1'")
	at -= 3
	f("die", "3", "Service exited 'web sha256:1'")
	at += 10
	f("health_status: healthy", "2") // told from elsewhere, maybe before what happened earlier
	at -= 2
	f("start", "2", "Restarting service 'web sha256:1'")
	f("destroy", "3")
	at -= 20
	f("die", "3")
	at += int64(time.Hour)
	f("start", "2")
	if len(w.seen) != 3 {
		t.Errorf("%d containers are remembered", len(w.seen))
	}
}
