// Package provision_test proves how a device gets to know its cloud: registration, exchange of keys,
// the report of its first configuration, pinning, and what of it survives a power cut
// (docs/spec/cloud.md 2 and 8.2).
package provision_test

import (
	"errors"
	"fmt"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

// fresh is a device that is still to be registered, and its cloud. Its identity is that of config
// where it says one; else it has to make one. It has no containers, and the test runs while others of
// its kind do.
func fresh(t *testing.T, config map[string]any) (*harness.Supervisor, *fakecloud.Cloud) {
	t.Helper()
	return harness.NewManaged(t, harness.Setup{Config: config, Unprovisioned: true, WithoutContainers: true})
}

// registered waits until the device knows its id and has no provisioning key any more.
func registered(t *testing.T, s *harness.Supervisor) map[string]any {
	t.Helper()
	var doc map[string]any
	harness.Until(t, harness.Soon, "registration", func() error {
		doc = s.ReadConfig()
		if _, left := doc["apiKey"]; left || doc["deviceId"] == nil || doc["registered_at"] == nil {
			return fmt.Errorf("config.json: %v", doc)
		}
		return nil
	})
	return doc
}

// reporting waits for the first report: by then the device has settled in.
func reporting(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	harness.Until(t, harness.Soon, "a report that was taken", func() error {
		for _, r := range cloud.Calls(fakecloud.Report) {
			if r.Status == 200 {
				return nil
			}
		}
		return errors.New("none")
	})
}
