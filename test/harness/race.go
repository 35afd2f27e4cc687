package harness

import (
	"strings"
	"testing"
)

// refuseRaces fails the test when a product that is built with the race detector reports a data race in its output.
func refuseRaces(t testing.TB, output string) {
	t.Helper()
	if _, report, found := strings.Cut(output, "WARNING: DATA RACE"); found {
		report, _, _ = strings.Cut(report, "\n====")
		t.Errorf("data race in the product:%s", report)
	}
}
