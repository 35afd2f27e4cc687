package observe

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLiveness(t *testing.T) {
	f := func(what string, cuts int, run func(p *liveness)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			p, got := newLiveness(), 0
			p.open(func() { got++ })
			run(p)
			time.Sleep(2 * eventTimeout)
			synctest.Wait()
			if got != cuts {
				t.Errorf("%s: the stream was ended %d times, want %d", what, got, cuts)
			}
			if p.changes != 0 || len(p.heard) != 0 {
				t.Errorf("%s: %d changes and %d events are kept", what, p.changes, len(p.heard))
			}
		})
	}
	f("no work", 0, func(p *liveness) {})
	f("an event during the change", 0, func(p *liveness) { s := p.begin(); p.hear("a"); p.end(s, "a", true) })
	f("an event soon after", 0, func(p *liveness) {
		p.end(p.begin(), "a", true)
		time.Sleep(eventTimeout / 2)
		p.hear("a")
	})
	f("no event", 1, func(p *liveness) { p.end(p.begin(), "a", true) })
	f("an event of another container", 1, func(p *liveness) { s := p.begin(); p.hear("b"); p.end(s, "a", true) })
	f("an event before the change", 1, func(p *liveness) {
		other := p.begin()
		p.hear("a")
		p.end(p.begin(), "a", true)
		p.end(other, "b", false)
	})
	f("a change that failed", 0, func(p *liveness) { p.end(p.begin(), "a", false) })
	f("a stream that ended meanwhile", 0, func(p *liveness) { p.end(p.begin(), "a", true); p.close() })
	f("a stream opened after the change began", 0, func(p *liveness) {
		s := p.begin()
		p.close()
		p.open(func() { t.Error("a stream was ended for a change before it") })
		p.end(s, "a", true)
	})
	f("doubt", 1, func(p *liveness) { p.doubt() })
}
