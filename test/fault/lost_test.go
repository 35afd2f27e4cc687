package fault_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// install, change and removal are the calls that bring an app up, replace one of its services while the
// other is renamed, and take it down.
var (
	install = []string{"POST /images/create", "POST /networks/create", "POST /volumes/create", "POST /containers/create",
		"POST /containers/{id}/start", "GET /containers/{id}/json", "GET /networks/{id}", "GET /volumes/{id}"}
	change = []string{"POST /containers/{id}/stop", "DELETE /containers/{id}", "POST /containers/create",
		"POST /containers/{id}/start", "POST /containers/{id}/rename", "GET /containers/{id}/json"}
	removal = []string{"POST /containers/{id}/stop", "DELETE /containers/{id}", "DELETE /networks/{id}", "DELETE /images/{id}"}
)

// Every call on the way from nothing to an app, to its next release and back goes wrong once, all in
// one apply: what is there in the end is what is there without faults, and what need not change did not.
func TestEveryCallGoesWrongOnce(t *testing.T) {
	engine := harness.SharedEngine(t)
	v1, v2 := harness.ServerImage("fault/all:v1"), harness.ServerImage("fault/all:v2")
	db := harness.SharedRegistry(t).Push(t, harness.ServerImage("fault/pulled:v1"))
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	v1.Load(t)
	full, next, none := harness.TargetOf(shop("aaaa1", 1, v1, db)), harness.TargetOf(shop("bbbb2", 2, v2, db)), harness.TargetOf()
	s.Apply(full)
	up := lookAround(t, s)
	v2.Load(t)
	s.Apply(next)
	after := lookAround(t, s)
	s.Apply(none)
	down := lookAround(t, s)
	for name, fault := range map[string]harness.Fault{"lost answer": harness.LoseAnswer, "reset": harness.Reset, "500": harness.Fail} {
		t.Run(name, func(t *testing.T) {
			engine.Must(t, "DELETE", "/volumes/31_data", nil, nil) // kept in local mode, as data
			v1.Load(t)
			spoilt := func(calls []string, to harness.Target, want objects) {
				t.Helper()
				before := s.Proxy.Counts()
				for _, call := range calls {
					s.Proxy.Spoil(call, fault, 0, 1)
				}
				s.PostTarget(to)
				harness.Until(t, soon, "the target", s.Settled)
				s.Proxy.Heal()
				for _, call := range calls {
					if s.Proxy.Counts()[call] == before[call] {
						t.Errorf("%s was never called: the case proves nothing", call)
					}
				}
				lookAround(t, s).same(t, "after faults in "+calls[0]+" and others", want)
				if n := sum(s.Proxy.Counts()) - sum(before); n > 120 {
					t.Errorf("%d calls:\n%s", n, s.Proxy.Since(before))
				}
			}
			spoilt(install, full, up)
			kept := s.IDs()["db"]
			v2.Load(t)
			spoilt(change, next, after)
			if s.IDs()["db"] != kept {
				t.Error("db was recreated")
			}
			spoilt(removal, none, down)
		})
	}
}

func sum(counts map[string]int) int {
	total := 0
	for n := range maps.Values(counts) {
		total += n
	}
	return total
}

// The connection breaks while the engine works on the call, and with it every other one.
func TestConnectionBreaksInTheMiddleOfACall(t *testing.T) {
	v1, _, db := images(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	full, none := harness.TargetOf(shop("aaaa1", 1, v1, db)), harness.TargetOf()
	s.Apply(full)
	up := lookAround(t, s)
	for _, call := range []string{"POST /containers/create", "POST /containers/{id}/start", "POST /networks/create"} {
		s.Apply(none)
		v1.Load(t)
		db.Load(t)
		seen := len(s.Proxy.Times(call))
		s.PostTarget(full)
		s.Proxy.WaitCalls(t, soon, call, seen+1)
		s.Proxy.Cut()
		harness.Until(t, soon, "the target after a break in "+call, s.Settled)
		lookAround(t, s).same(t, "after a break in "+call, up)
	}
}

// A call that goes wrong every time is tried again after 1, 2, 4 ... seconds, not more often, and
// the rest of the supervisor goes on (docs/spec/engine.md 5.2).
func TestRefusedCallsAreTriedLessAndLessOften(t *testing.T) {
	v1, v2, db := images(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	app := shop("aaaa1", 1, v1, db)
	changed := shop("cccc3", 3, v2, db)
	// The calls of one row come up side by side. A row begins where the one before got stuck, or from
	// a target that is reached first.
	for _, row := range []struct {
		from  []harness.App
		to    harness.Target
		calls []string
	}{
		{nil, harness.TargetOf(app), []string{"POST /networks/create", "POST /volumes/create"}},
		{nil, harness.TargetOf(app), []string{"POST /containers/create"}},
		{nil, harness.TargetOf(app), []string{"POST /containers/{id}/start"}},
		{[]harness.App{app}, harness.TargetOf(changed), []string{"POST /containers/{id}/stop"}},
		{nil, harness.TargetOf(changed), []string{"DELETE /containers/{id}"}},
		{[]harness.App{changed}, harness.TargetOf(), []string{"DELETE /images/{id}"}},
	} {
		if row.from != nil {
			s.Apply(harness.TargetOf(row.from...))
		}
		for _, call := range row.calls {
			s.Proxy.Spoil(call, harness.Fail, 0, -1)
		}
		before, began := s.Proxy.Counts(), time.Now()
		s.PostTarget(row.to)
		harness.Until(t, soon, fmt.Sprint("third attempts of ", row.calls), func() error {
			if err := s.Alive(); err != nil {
				t.Fatal(err)
			}
			for _, call := range row.calls {
				if n := s.Proxy.Counts()[call] - before[call]; n < 3 {
					return fmt.Errorf("%d attempts of %s", n, call)
				}
			}
			return nil
		})
		took := time.Since(began)
		for _, call := range row.calls {
			// Two services make two calls of each round; rounds are 1, 2 and 4 seconds apart.
			if most := 2 * (2 + log2(took)); s.Proxy.Counts()[call]-before[call] > most {
				t.Errorf("%d x %s in %v, want at most %d", s.Proxy.Counts()[call]-before[call], call, took, most)
			}
		}
		if n := sum(s.Proxy.Counts()) - sum(before); n > 80 {
			t.Errorf("%d calls in %v while %v was refused:\n%s", n, took, row.calls, s.Proxy.Since(before))
		}
		s.Proxy.Heal()
	}
	harness.Until(t, soon, "the target", s.Settled)
	if left := lookAround(t, s); len(left.containers)+len(left.records) > 0 || slices.Contains(left.images, v1.Name) || slices.Contains(left.images, v2.Name) {
		t.Errorf("left over: %+v", left)
	}
}

// log2 is how many doublings of a second fit into a span.
func log2(d time.Duration) int {
	n := 0
	for ; d >= time.Second; d /= 2 {
		n++
	}
	return n
}

// An engine that refuses to be read is asked less and less often, too.
func TestRefusedReadsAreTriedLessAndLessOften(t *testing.T) {
	v1, _, db := images(t)
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.Apply(harness.TargetOf(shop("aaaa1", 1, v1, db)))
	for _, fault := range []harness.Fault{harness.Fail, harness.Reset} {
		s.Proxy.Spoil("GET /*", fault, 0, -1)
		before := s.Proxy.Counts()
		// What happens now cannot be looked at.
		engine.Must(t, "POST", "/containers/"+s.IDs()["web"]+"/restart?t=0", nil, nil)
		window := 6 * time.Second
		harness.Throughout(t, window, "life without an answer", s.Alive)
		// Every attempt is a handful of calls side by side.
		if n := sum(s.Proxy.Counts()) - sum(before); n == 0 || n > 60 {
			t.Errorf("%d calls in %v while every read went wrong with fault %d:\n%s", n, window, fault, s.Proxy.Since(before))
		}
		healed := sum(s.Proxy.Counts())
		s.Proxy.Heal()
		harness.Until(t, soon, "another look", func() error { // what is shown until then is of before
			if sum(s.Proxy.Counts()) == healed {
				return errors.New("none")
			}
			return nil
		})
		harness.Until(t, soon, "the target", s.Settled)
	}
}

// A call that gets no answer for half a minute holds nothing up but its own service.
func TestEngineStallsForHalfAMinute(t *testing.T) {
	v1, v2, db := images(t)
	engine := harness.SharedEngine(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	shopApp := shop("aaaa1", 1, v1, db)
	shopApp.Services[0].Compose = nil // web does not wait for db
	other := harness.App{ID: 32, UUID: "5aa0c0ffee5aa0c0ffee5aa0c0ffee52", Name: "other", Commit: "ffff1", Release: 1,
		Services: []harness.Service{{ID: 7, Name: "lone", ImageID: 7000, Image: db.Name}}}
	s.Apply(harness.TargetOf(shopApp, other))
	up := lookAround(t, s)
	const stop = "POST /containers/{id}/stop"
	s.Proxy.Spoil(stop, harness.Hang, 0, 1)
	seen := len(s.Proxy.Times(stop))
	next := shop("aaaa1", 1, v2, db)
	next.Services[0].Compose = nil
	s.PostTarget(harness.TargetOf(next, other))
	s.Proxy.WaitCalls(t, soon, stop, seen+1)
	began, before := time.Now(), s.Proxy.Counts()
	// Meanwhile the other app gets a release of its own.
	other.Commit, other.Release = "ffff2", 2
	s.PostTarget(harness.TargetOf(next, other))
	harness.Until(t, 20*time.Second, "the other app's release", func() error {
		_, err := engine.Container(other.ContainerName(other.Services[0]))
		return err
	})
	harness.Throughout(t, 30*time.Second-time.Since(began), "life during the stall", s.Alive)
	if n := sum(s.Proxy.Counts()) - sum(before); n > 20 {
		t.Errorf("%d calls during the stall:\n%s", n, s.Proxy.Since(before))
	}
	s.Proxy.Heal()
	harness.Until(t, soon, "the target", s.Settled)
	harness.WantVersion(t, s.Containers()["web"], v2.Version)
	left := lookAround(t, s)
	if len(left.containers) != len(up.containers) || !slices.Equal(left.networks, up.networks) || !slices.Equal(left.volumes, up.volumes) {
		t.Errorf("left over: %+v, before: %+v", left, up)
	}
}
