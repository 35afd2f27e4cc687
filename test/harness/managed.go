package harness

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness/fakecloud"
)

// NewManaged prepares a device of a cloud without starting its supervisor. The cloud is that of the Setup, or a
// new one. The test of a device without containers runs in parallel with others of its kind.
func NewManaged(t testing.TB, setup Setup) (*Supervisor, *fakecloud.Cloud) {
	t.Helper()
	if p, ok := t.(interface{ Parallel() }); ok && setup.WithoutContainers {
		p.Parallel()
	}
	if setup.Cloud == nil {
		setup.Cloud = &fakecloud.Cloud{}
	}
	return NewSupervisor(t, setup), setup.Cloud
}

// dumpCloud shows what the cloud was told, for a test that failed.
func (s *Supervisor) dumpCloud() {
	said := s.Said()
	s.t.Logf("the device's log, last lines:\n%s", strings.Join(said[max(0, len(said)-200):], "\n"))
	for _, r := range s.setup.Cloud.Calls(fakecloud.Report) {
		s.t.Logf("report %s %d %s", r.At.Format("05.000"), r.Status, r.Body)
	}
}

// Said are the messages in the device's log streams to its cloud so far, over all its starts.
func (s *Supervisor) Said() []string {
	var texts []string
	for _, l := range s.setup.Cloud.Logs() {
		texts = append(texts, l.Message)
	}
	return texts
}

// SaidTimes counts a message in Said.
func (s *Supervisor) SaidTimes(text string) (n int) {
	for _, said := range s.Said() {
		if said == text {
			n++
		}
	}
	return n
}

// Hear waits until the device said something so many times, and no more often.
func (s *Supervisor) Hear(text string, times int) {
	s.t.Helper()
	Until(s.t, Soon, fmt.Sprintf("%q %d times", text, times), func() error {
		if n := s.SaidTimes(text); n != times {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

// Polls counts the answered polls so far.
func (s *Supervisor) Polls() (n int) {
	for _, r := range s.setup.Cloud.Calls(fakecloud.State) {
		if r.Status == http.StatusOK || r.Status == http.StatusNotModified {
			n++
		}
	}
	return n
}

// PollNow has the device ask its cloud and waits for the answer.
func (s *Supervisor) PollNow() {
	s.t.Helper()
	before := s.Polls()
	Until(s.t, Soon, "a poll", func() error {
		if _, err := s.TryCall(Request{Method: http.MethodPost, Path: "/v1/update"}); err != nil {
			return err
		}
		if s.Polls() <= before {
			return errors.New("none")
		}
		return nil
	})
}
