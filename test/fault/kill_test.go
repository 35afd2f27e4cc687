package fault_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// killRounds is how often the supervisor is killed in the middle of an update.
const killRounds = 50

// docs/spec/cloud.md 10: 87; docs/spec/engine.md 10: 34, 68.
func TestKillAtAnyMomentOfAnUpdateConverges(t *testing.T) {
	v1, v2, db := images(t)
	s := harness.StartSupervisor(t, harness.Setup{})
	s.Apply(harness.TargetOf(shop("round0", 1, v1, db)))
	harness.MustAsk(t, s.Containers()["web"], http.MethodPut, "/file?path=/data/kept", "precious")
	dbID, volume := s.IDs()["db"], s.Engine.Volumes(t)["31_data"].CreatedAt
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	midway, window := 0, updateTime(t, s, v2, db)
	t.Logf("an undisturbed update takes %v", window)

	for round := 1; round <= killRounds; round++ {
		web := v1
		if round%2 == 0 {
			web = v2
		}
		// The images stay on the engine by a name of our own, so that a round needs no registry.
		web.Load(t)
		moment := time.Duration(random.Int64N(int64(window)))
		s.PostTarget(harness.TargetOf(shop(fmt.Sprintf("round%d", round), round+2, web, db)))
		<-time.After(moment)
		// The machine is faster or slower than it was a moment ago: the moments follow it.
		if s.Matches() != nil {
			midway++
			window += window / 10
		} else {
			window -= window / 5
		}
		s.Kill()
		s.Start()
		checkConverged(t, s, fmt.Sprintf("round %d, killed after %v", round, moment), web.Version, dbID, volume)
	}
	// Kills after the end of an update prove nothing.
	if t.Logf("%d of %d kills came in the middle", midway, killRounds); midway < killRounds/4 {
		t.Errorf("only %d of %d kills came in the middle of an update", midway, killRounds)
	}
}

// updateTime is how long an update takes that nobody disturbs, up to the last container.
func updateTime(t *testing.T, s *harness.Supervisor, web, db harness.Image) time.Duration {
	t.Helper()
	began := time.Now()
	s.PostTarget(harness.TargetOf(shop("measured", 2, web, db)))
	harness.Until(t, soon, "the measured update", s.Matches)
	took := time.Since(began)
	s.WaitSettled(soon)
	return took
}

// checkConverged waits for the target and looks for what a crash could have left behind.
func checkConverged(t *testing.T, s *harness.Supervisor, when, version, dbID, volume string) {
	t.Helper()
	harness.Until(t, soon, when, s.Settled)
	containers := s.Containers()
	if containers["db"].ID != dbID {
		t.Fatalf("%s: the unchanged db was recreated", when)
	}
	if got := s.Engine.Volumes(t)["31_data"].CreatedAt; got != volume {
		t.Fatalf("%s: the volume was recreated", when)
	}
	web := containers["web"]
	if got := harness.VersionOf(t, web); got != version {
		t.Fatalf("%s: web serves %q, want %q", when, got, version)
	}
	if got := harness.MustAsk(t, web, http.MethodGet, "/file?path=/data/kept", ""); got != "precious" {
		t.Fatalf("%s: the volume holds %q", when, got)
	}
}

// A document cut short or overwritten does not keep the supervisor from starting, and no container
// is lost (docs/spec/cloud.md 10: 88).
func TestBrokenDocumentsAreSetAside(t *testing.T) {
	v1, _, db := images(t)
	s := harness.StartSupervisor(t, harness.Setup{})
	app := shop("aaaa1", 1, v1, db)
	s.Apply(harness.TargetOf(app))
	before := s.IDs()
	documents := s.Documents()
	if len(documents) == 0 {
		t.Fatal("the supervisor keeps no documents in its state directory")
	}
	for _, path := range documents {
		s.Kill()
		text := s.ReadFile(path)
		s.WriteFile(path, text[:len(text)/2])
		s.Start()
		s.ForgetKey()
		harness.Throughout(t, 500*time.Millisecond, "life after the loss of "+path, s.Alive)
		for name, c := range s.Containers() {
			if c.ID != before[name] || !c.State.Running {
				t.Errorf("loss of %s: container of %s changed", path, name)
			}
		}
		s.Apply(harness.TargetOf(app))
		for name, c := range s.Containers() {
			if c.ID != before[name] {
				t.Errorf("loss of %s: %s was recreated by the next apply", path, name)
			}
		}
	}
}
