// Package logs_test proves that what services write and what the supervisor says reaches the cloud or
// local listeners: black box, with the built binary, a real engine and the test cloud.
package logs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

// shop is the app of most tests.
func shop(services ...harness.Service) harness.App {
	return harness.Shop("c0ffee01", 88, services...)
}

// managed is a device of a cloud that has reached its target.
func managed(t *testing.T, cloud *fakecloud.Cloud, config map[string]any, services ...harness.Service) *harness.Supervisor {
	t.Helper()
	target := harness.TargetOf(shop(services...))
	s := harness.NewSupervisor(t, harness.Setup{Cloud: cloud, Config: config, Apps: target.V3()})
	s.Assign(target)
	s.Start()
	s.WaitSettled(harness.Soon)
	return s
}

// messages are the texts of all lines that came to a cloud.
func messages(lines []fakecloud.LogLine) []string {
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.Message)
	}
	return texts
}

// find is the first line with a text that begins so.
func find(lines []fakecloud.LogLine, prefix string) (fakecloud.LogLine, bool) {
	i := slices.IndexFunc(lines, func(l fakecloud.LogLine) bool { return strings.HasPrefix(l.Message, prefix) })
	if i < 0 {
		return fakecloud.LogLine{}, false
	}
	return lines[i], true
}

// await waits for a line in the cloud and returns it.
func await(t *testing.T, cloud *fakecloud.Cloud, prefix string) fakecloud.LogLine {
	t.Helper()
	var line fakecloud.LogLine
	harness.Until(t, harness.Soon, fmt.Sprintf("line %q in the cloud", prefix), func() error {
		found, ok := find(cloud.Logs(), prefix)
		if line = found; !ok {
			return fmt.Errorf("there are %.2000q", messages(cloud.Logs()))
		}
		return nil
	})
	return line
}

// numbered are the numbers of the lines that begin with a word.
func numbered(lines []fakecloud.LogLine, word string) []int {
	var numbers []int
	for _, l := range lines {
		var n int
		if _, err := fmt.Sscanf(l.Message, word+" %d", &n); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
