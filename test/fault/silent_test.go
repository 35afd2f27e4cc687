package fault_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

const follow = "GET /events"

// The event stream drops everything without an end. What the supervisor does itself it looks at
// itself, so the target is reached; and as the stream does not tell of it, the stream is replaced.
// After that, what others do is seen again.
func TestSilentEventStreamIsReplaced(t *testing.T) {
	v1, v2, db := images(t)
	s := harness.NewSupervisor(t, harness.Setup{WithProxy: true})
	s.Proxy.Spoil(follow, harness.Mute, 0, 1)
	s.Start()
	s.WaitListed()
	s.Apply(harness.TargetOf(shop("aaaa1", 1, v1, db)))
	replaced := func(streams int) {
		t.Helper()
		s.Proxy.WaitCalls(t, 20*time.Second, follow, streams)
		harness.Until(t, soon, "the target", s.Settled)
		s.Engine.Must(t, http.MethodPost, "/containers/"+s.IDs()["web"]+"/stop?t=0", nil, nil)
		harness.Until(t, 10*time.Second, "the exit to show in the API", func() error { return status(t, s, "web", "exited") })
		if n := len(s.Proxy.Times(follow)); n != streams {
			t.Errorf("%d event streams, want %d: one more for a silent one, and no more than that", n, streams)
		}
	}
	replaced(2)
	if n := len(s.LogLines("replacing the event stream of the engine")); n != 1 {
		t.Errorf("%d log lines about the silent stream, want 1", n)
	}

	// The same when the stream falls silent later, and for the calls of an update.
	s.Proxy.Spoil(follow, harness.Mute, 0, 1)
	s.Proxy.Cut()
	s.Proxy.WaitCalls(t, 20*time.Second, follow, 3)
	harness.Until(t, soon, "the listing", s.Idle)
	v2.Load(t)
	s.Apply(harness.TargetOf(shop("bbbb2", 2, v2, db)))
	replaced(4)
	// A stream that tells of everything stays.
	v1.Load(t)
	s.Apply(harness.TargetOf(shop("cccc3", 3, v1, db)))
	harness.Throughout(t, 7*time.Second, "one event stream", func() error {
		if n := len(s.Proxy.Times(follow)); n != 4 {
			return fmt.Errorf("%d event streams, want 4", n)
		}
		return nil
	})
}

// status is nil when the API shows the service in that state.
func status(t *testing.T, s *harness.Supervisor, service, want string) error {
	t.Helper()
	var state struct {
		Containers []struct{ ServiceName, Status string }
	}
	answer := s.Get("/v2/state/status")
	answer.JSON(t, &state)
	for _, c := range state.Containers {
		if c.ServiceName == service && c.Status == want {
			return nil
		}
	}
	return errors.New(answer.Body)
}
