// Package journal_test proves what has to do with the host's journal, with a real systemd and journald
// as the host: lines of host units in the device's log, an engine that logs to the journal, and the
// journal in the device API.
package journal_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

const soon = 40 * time.Second

// obedient is a unit that runs what is written to a pipe in /run.
func obedient(pipe string) string {
	return fmt.Sprintf("[Service]\nExecStartPre=/bin/sh -c 'rm -f /run/%[1]s; mkfifo /run/%[1]s'\nExecStart=/bin/sh -c '. /run/%[1]s'\n", pipe)
}

// tell has an obedient unit run something.
func tell(t *testing.T, s *harness.Supervisor, pipe, script string) {
	t.Helper()
	path := s.Path("root/run", pipe)
	harness.Until(t, soon, "the unit to listen", func() error {
		_, err := os.Stat(path)
		return err
	})
	if err := os.WriteFile(path, []byte(script+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// readers lists the journal readers that the supervisor runs.
func readers(s *harness.Supervisor) (pids []int) {
	for pid, name := range s.Children() {
		if name == "journalctl" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func awaitReaders(t *testing.T, s *harness.Supervisor, n int) {
	t.Helper()
	harness.Until(t, soon, fmt.Sprint(n, " readers"), func() error {
		if pids := readers(s); len(pids) != n {
			return fmt.Errorf("there are %v", pids)
		}
		return nil
	})
}

// await waits for a line in the cloud and returns it.
func await(t *testing.T, cloud *fakecloud.Cloud, text string) fakecloud.LogLine {
	t.Helper()
	var line fakecloud.LogLine
	harness.Until(t, soon, fmt.Sprintf("line %q in the cloud", text), func() error {
		var all []string
		for _, line = range cloud.Logs() {
			if line.Message == text {
				return nil
			}
			all = append(all, line.Message)
		}
		return fmt.Errorf("there are %.3000q", all)
	})
	return line
}

// count is how often lines that begin so came.
func count(cloud *fakecloud.Cloud, prefix string) (n int) {
	for _, l := range cloud.Logs() {
		if strings.HasPrefix(l.Message, prefix) {
			n++
		}
	}
	return n
}

var errNotYet = errors.New("not yet")
