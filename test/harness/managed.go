package harness

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

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
	lines := s.DeviceLog()
	s.t.Logf("the device's log, last lines:\n%s", strings.Join(lines[max(0, len(lines)-200):], "\n"))
	for _, r := range s.setup.Cloud.Calls(fakecloud.Report) {
		s.t.Logf("report %s %d %s", r.At.Format("05.000"), r.Status, r.Body)
	}
}

// WaitRequests waits until n requests came to an endpoint of the cloud in all, and answers them.
func WaitRequests(t testing.TB, within time.Duration, cloud *fakecloud.Cloud, at fakecloud.Endpoint, n int) []fakecloud.Request {
	t.Helper()
	Until(t, within, fmt.Sprintf("%d requests of %s", n, at), func() error {
		if got := len(cloud.Calls(at)); got < n {
			return fmt.Errorf("%d requests", got)
		}
		return nil
	})
	return cloud.Calls(at)
}

// Messages are the messages of log lines.
func Messages(lines []fakecloud.LogLine) []string {
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.Message)
	}
	return texts
}

// FindLine is the first log line whose message begins with a text.
func FindLine(lines []fakecloud.LogLine, prefix string) (line fakecloud.LogLine, found bool) {
	for _, l := range lines {
		if strings.HasPrefix(l.Message, prefix) {
			return l, true
		}
	}
	return line, false
}

// WaitLine waits until the cloud has a log line whose message begins with a text.
func WaitLine(t testing.TB, cloud *fakecloud.Cloud, prefix string) (line fakecloud.LogLine) {
	t.Helper()
	Until(t, Soon, fmt.Sprintf("line %q in the cloud", prefix), func() error {
		found := false
		if line, found = FindLine(cloud.Logs(), prefix); !found {
			return fmt.Errorf("there are %.2000q", Messages(cloud.Logs()))
		}
		return nil
	})
	return line
}

// DeviceLog are the messages of the device's log in its cloud so far, over all its starts.
func (s *Supervisor) DeviceLog() []string { return Messages(s.setup.Cloud.Logs()) }

// CountLogged counts a message in the DeviceLog.
func (s *Supervisor) CountLogged(text string) (n int) {
	for _, logged := range s.DeviceLog() {
		if logged == text {
			n++
		}
	}
	return n
}

// WaitLogged waits until a message is in the DeviceLog so many times, and no more often.
func (s *Supervisor) WaitLogged(text string, times int) {
	s.t.Helper()
	Until(s.t, Soon, fmt.Sprintf("%q %d times", text, times), func() error {
		if n := s.CountLogged(text); n != times {
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
