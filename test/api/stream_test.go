package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// device-api.md 144; 2.33: the first line is there at once, then what services write, as NDJSON.
func TestLocalLogs(t *testing.T) {
	f := newFleet(t)
	answer, lines, hangUp := f.Stream(harness.Soon, "GET", "/v2/local/logs", "")
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	first, err := lines.ReadString('\n')
	if err != nil || strings.TrimSpace(first) != `{"message":"Streaming logs","isSystem":true}` {
		t.Fatalf("first line is %q %v", first, err)
	}
	f.Post("/v2/applications/31/restart-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	var system, output bool
	for !system || !output {
		text, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("system line: %v, line of a container: %v: %v", system, output, err)
		}
		var line struct {
			Message, ServiceName string
			IsSystem             bool
			ServiceID            int `json:"serviceId"`
			Timestamp            int64
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		system = system || line.IsSystem && line.Timestamp > 0 && line.Message != ""
		output = output || line.ServiceName == "db" && line.ServiceID == 2 && line.Timestamp > 0 && line.Message != ""
	}
	hangUp()
	if err := f.Alive(); err != nil {
		t.Error(err)
	}
}

// device-api.md 138; 2.29: the journal of a real journald, read with the host's own journalctl.
func TestJournalLogs(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	write := s.Journal()
	s.Start()
	for i := range 5 {
		write("probe", fmt.Sprintf("message %d", i))
	}
	post := func(body map[string]any) harness.Answer {
		t.Helper()
		answer := s.Post("/v2/journal-logs", body)
		if answer.Status != 200 || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%v: %d %v", body, answer.Status, answer.Header)
		}
		return answer
	}
	harness.Until(t, harness.Soon, "the journal to be written", func() error {
		if a := post(map[string]any{"containerId": "probe"}); strings.Count(a.Body, "\n") != 5 || !strings.Contains(a.Body, "message 4\n") {
			return fmt.Errorf("journal reads %q", a.Body)
		}
		return nil
	})
	if a := post(map[string]any{"count": 2, "containerId": "probe"}); strings.Count(a.Body, "\n") != 2 || !strings.Contains(a.Body, "message 3") {
		t.Errorf("the last two entries are %q", a.Body)
	}
	if a := post(map[string]any{"count": "2"}); strings.Count(a.Body, "\n") > 2 {
		t.Errorf("two entries are %q", a.Body)
	}
	var entry struct {
		Message string `json:"MESSAGE"`
	}
	if a := post(map[string]any{"count": 1, "containerId": "probe", "format": "json", "all": true}); json.Unmarshal([]byte(a.Body), &entry) != nil || entry.Message != "message 4" {
		t.Errorf("as JSON the last entry is %q", a.Body)
	}
	if a := post(map[string]any{"containerId": "probe", "since": "2001-01-01", "until": "2002-01-01"}); strings.Contains(a.Body, "message") {
		t.Errorf("entries of long ago are %q", a.Body)
	}
	// No value can become an option, and one that makes no sense gives nothing (139).
	for _, body := range []map[string]any{{"unit": "--version"}, {"format": "--version"}, {"containerId": "--help"}, {"since": "-o --version"}, {"format": "nonsense"}} {
		if a := post(body); strings.Contains(a.Body, "systemd 2") || strings.Contains(a.Body, "Options") || strings.Contains(a.Body, "message") && body["since"] == nil {
			t.Errorf("%v: %q", body, a.Body)
		}
	}

	answer, lines, hangUp := s.Stream(harness.Soon, "POST", "/v2/journal-logs", `{"follow":true,"containerId":"probe","count":1}`)
	if answer.StatusCode != 200 {
		t.Fatalf("follow: %d", answer.StatusCode)
	}
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "message 4") {
		t.Fatalf("first line is %q %v", line, err)
	}
	write("probe", "later")
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "later") {
		t.Fatalf("the line written later is %q %v", line, err)
	}
	if n := len(s.Children()); n != 1 {
		t.Fatalf("%d readers", n)
	}
	hangUp()
	// Nothing is written any more: that the client has gone is noticed all the same.
	harness.Until(t, 2*time.Second, "the reader to end with its client", func() error {
		if left := s.Children(); len(left) > 0 {
			return fmt.Errorf("%v are there", left)
		}
		return nil
	})
	s.Stream(harness.Soon, "POST", "/v2/journal-logs", `{"follow":true}`)
	s.Stop() // at once, although somebody follows
}

// device-api.md 139.
func TestJournalLogsWithoutJournal(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	for range 3 {
		var e struct{ Status, Message string }
		answer := s.Post("/v2/journal-logs", map[string]any{"follow": true})
		if answer.JSON(t, &e); answer.Status != 503 || e.Status != "failed" || !strings.Contains(e.Message, "journal") {
			t.Errorf("journal of a host without journalctl: %d %s", answer.Status, answer.Body)
		}
	}
	for _, body := range []map[string]any{{"unit": true}, {"format": []string{"short"}}, {"since": map[string]any{}}} {
		if answer := s.Post("/v2/journal-logs", body); answer.Status != 400 {
			t.Errorf("%v: %d %s", body, answer.Status, answer.Body)
		}
	}
	if err := s.Alive(); err != nil {
		t.Error(err)
	}
}

// device-api.md 145, A20: clients that come and go leave nothing behind.
func TestLogClientsLeaveNothingBehind(t *testing.T) {
	f := newFleet(t)
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.Process().PID()))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := descriptors()
	for range 3 {
		var ends []func()
		for range 100 {
			_, lines, hangUp := f.Stream(harness.Soon, "GET", "/v2/local/logs", "")
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, hangUp)
		}
		for _, end := range ends {
			end()
		}
	}
	harness.Until(t, harness.Soon, "the connections to be gone", func() error {
		if n := descriptors(); n > before+8 {
			return fmt.Errorf("%d descriptors, %d before", n, before)
		}
		return nil
	})
}
