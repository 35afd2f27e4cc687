// Package logs_test proves that what services write and what the supervisor says reaches the cloud or
// local listeners: black box, with the built binary, a real engine and the test cloud.
package logs_test

import (
	"fmt"
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
