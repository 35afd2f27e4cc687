// Package image_test proves how the supervisor treats images: what it downloads and by which way, what
// it keeps, what it removes, and what happens when there is no room (docs/spec/engine.md section 8).
package image_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const pull = "POST /images/create"

// shop is the app of most tests; its release is numbered like its commit.
func shop(release int, services ...harness.Service) harness.Target {
	return harness.TargetOf(harness.Shop(fmt.Sprintf("commit%d", release), release, services...))
}

// begin starts a device with its first target: from its cloud, or from a file where it has none.
func begin(t *testing.T, s *harness.Supervisor, target harness.Target) {
	t.Helper()
	if s.Cloud() != nil {
		s.Assign(target)
	} else {
		s.WriteJSON("data/apps.json", target.V3())
		s.Expect(target)
	}
	s.Start()
	s.WaitListed()
}

// retarget gives a device of a cloud another target, and waits until it has it.
func retarget(t *testing.T, s *harness.Supervisor, target harness.Target) {
	t.Helper()
	s.Assign(target)
	s.PollNow()
}

// present fails the test unless the engine has the images.
func present(t *testing.T, e *harness.Engine, names ...string) {
	t.Helper()
	for _, name := range names {
		if e.ImageID(t, name) == "" {
			t.Errorf("image %s is gone", name)
		}
	}
}

// awaitGone waits until the engine has none of the images.
func awaitGone(t *testing.T, e *harness.Engine, names ...string) {
	t.Helper()
	harness.Until(t, harness.Soon, "removal of images", func() error {
		for _, name := range names {
			if e.ImageID(t, name) != "" {
				return fmt.Errorf("%s is still there", name)
			}
		}
		return nil
	})
}

// recorded tells whether the supervisor's documents name an image.
func recorded(s *harness.Supervisor, image harness.Image) bool {
	return slices.ContainsFunc(s.Documents(), func(path string) bool {
		return strings.HasPrefix(filepath.Base(path), "images") && strings.Contains(s.ReadFile(path), image.Name)
	})
}
