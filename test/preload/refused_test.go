package preload_test

import (
	"errors"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// An apps.json of which nothing can be used is a problem that status tells, with line and column when it is no
// JSON, and the update has failed until there is a target.
func TestRefusedFileIsAProblem(t *testing.T) {
	for _, c := range []struct{ name, text, why string }{
		{"no JSON", "{\"apps\": {\n  \"aa\": {,\n}}}", "line 2, column 10: invalid character ','"},
		{"zeros", "\x00\x00\x00", "line 1, column 1: invalid character"},
		{"no usable app", `{"apps":{"aa":{"id":"x","name":"shop"}}}`, "Expecting non-negative integer at apps.aa.id"},
	} {
		s := harness.NewSupervisor(t, harness.Setup{})
		s.WriteFile("data/apps.json", c.text)
		s.Start()
		refused(t, s, c.why)
		s.WaitOverview(harness.Soon, "update failed", "Problems apps.json: refused", "error: ", c.why)
		if !s.Device().UpdateFailed {
			t.Errorf("%s: update_failed is false", c.name)
		}
		s.Apply(harness.TargetOf(shop(t, "preload/web:v1")))
		harness.Until(t, harness.Soon, "no problem any more", func() error {
			if page := s.Overview(); !strings.Contains(page, "up to date") || strings.Contains(page, "Problems") {
				return errors.New(page)
			}
			return nil
		})
		s.Apply(harness.Target{})
		s.Stop()
	}
}
