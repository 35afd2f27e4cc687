package update

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPulse(t *testing.T) {
	f := func(what string, cuts int, run func(p *pulse)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			p, got := newPulse(), 0
			p.open(func() { got++ })
			run(p)
			time.Sleep(2 * pulsePatience)
			synctest.Wait()
			if got != cuts {
				t.Errorf("%s: the stream was ended %d times, want %d", what, got, cuts)
			}
			if p.changes != 0 || len(p.heard) != 0 {
				t.Errorf("%s: %d changes and %d events are kept", what, p.changes, len(p.heard))
			}
		})
	}
	f("no work", 0, func(p *pulse) {})
	f("an event during the change", 0, func(p *pulse) { s := p.begin(); p.hear("a"); p.end(s, "a", true) })
	f("an event soon after", 0, func(p *pulse) {
		p.end(p.begin(), "a", true)
		time.Sleep(pulsePatience / 2)
		p.hear("a")
	})
	f("no event", 1, func(p *pulse) { p.end(p.begin(), "a", true) })
	f("an event of another container", 1, func(p *pulse) { s := p.begin(); p.hear("b"); p.end(s, "a", true) })
	f("an event before the change", 1, func(p *pulse) {
		other := p.begin()
		p.hear("a")
		p.end(p.begin(), "a", true)
		p.end(other, "b", false)
	})
	f("a change that failed", 0, func(p *pulse) { p.end(p.begin(), "a", false) })
	f("a stream that ended meanwhile", 0, func(p *pulse) { p.end(p.begin(), "a", true); p.close() })
	f("a stream opened after the change began", 0, func(p *pulse) {
		s := p.begin()
		p.close()
		p.open(func() { t.Error("a stream was ended for a change before it") })
		p.end(s, "a", true)
	})
	f("doubt", 1, func(p *pulse) { p.doubt() })
}
