package journal_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// device-api.md 138; 2.29: the lines of a unit, also while it writes them; eight readers at most, each of
// which ends with its client.
func TestJournalOfUnit(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	host := s.Boot(map[string]string{"clock.service": obedient("clock"), "other.service": obedient("other")})
	host.Systemctl("start", "clock.service")
	host.Systemctl("start", "other.service")
	tell(t, s, "other", "echo of no interest")
	tell(t, s, "clock", "for i in $(seq 5); do echo tick $i; done; . /run/clock")
	s.Start()
	const query = `{"follow":true,"unit":"clock.service","format":"cat","count":2,"all":true}`
	harness.Until(t, soon, "the last tick", func() error {
		if a := s.Post("/v2/journal-logs", map[string]any{"unit": "clock", "format": "cat", "since": "-1h"}); a.Status != 200 || a.Body != "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\n" {
			return fmt.Errorf("%d %q", a.Status, a.Body)
		}
		return nil
	})
	if a := s.Post("/v2/journal-logs", map[string]any{"unit": "clock.service", "until": "-1h"}); strings.Contains(a.Body, "tick") {
		t.Errorf("an hour ago there were %q", a.Body)
	}
	var readersOf []*bufio.Reader
	var hangUps []func()
	for range 8 {
		answer, lines, hangUp := s.Stream(soon, "POST", "/v2/journal-logs", query)
		if answer.StatusCode != 200 {
			t.Fatalf("reader %d: %d", len(hangUps)+1, answer.StatusCode)
		}
		readersOf, hangUps = append(readersOf, lines), append(hangUps, hangUp)
	}
	if answer, lines, _ := s.Stream(soon, "POST", "/v2/journal-logs", query); answer.StatusCode != 503 {
		t.Errorf("a ninth reader: %d", answer.StatusCode)
	} else if text, _ := lines.ReadString('\n'); !strings.Contains(text, `"failed"`) {
		t.Errorf("a ninth reader: %q", text)
	}
	awaitReaders(t, s, 8)
	s.Get("/ping").Want(t, 200, "OK") // others are answered as ever
	tell(t, s, "clock", "echo later; echo '<3>bad'")
	for i, lines := range readersOf {
		for _, want := range []string{"tick 4", "tick 5", "later", "bad"} {
			if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
				t.Fatalf("reader %d reads %q %v, want %q", i, line, err, want)
			}
		}
	}
	hangUps[0]()
	awaitReaders(t, s, 7)
	harness.Until(t, soon, "a place", func() error {
		if answer, _, _ := s.Stream(soon, "POST", "/v2/journal-logs", query); answer.StatusCode != 200 {
			return fmt.Errorf("%d", answer.StatusCode)
		}
		return nil
	})
	for _, hangUp := range hangUps {
		hangUp()
	}
	awaitReaders(t, s, 1)

	// Nor does one outlive a supervisor that is killed, although nothing is written any more.
	last := readers(s)[0]
	s.Kill()
	harness.Until(t, soon, "the end of the last reader", func() error {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", last)); err == nil && !strings.Contains(string(stat), ") Z ") {
			return errNotYet
		}
		return nil
	})
}
