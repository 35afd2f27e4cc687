package update

import (
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/update/current"
)

// A view that was dropped to save memory is the same one when somebody asks again; one of something new
// is another.
func TestViewThatWasForgotten(t *testing.T) {
	m := &Manager{cell: newCell(&current.State{}), log: zerolog.Nop()}
	m.rest, m.watch = newRest(m.forget), newWatch(nil, m.cell, nil, m.log)
	m.status.Store(&status{})
	m.forget() // there is none
	first := m.View()
	if m.View() != first {
		t.Error("drawn twice")
	}
	m.rest.idle()
	if again := m.View(); again == first || again.Revision != first.Revision || again.EngineError != first.EngineError {
		t.Errorf("%+v, %+v", first, again)
	}
	m.rest.idle()
	m.status.Store(&status{pending: true})
	if other := m.View(); other.Revision == first.Revision || !other.Pending {
		t.Errorf("%+v", other)
	}
}
