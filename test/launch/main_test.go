// Package launch_test proves that the image runs under the start scripts of balenaOS, on a host laid out
// like one: nothing but the script's own arguments tells it where things are.
package launch_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// each runs a test under every start script.
func each(t *testing.T, test func(t *testing.T, release string)) {
	for _, release := range harness.Launches {
		t.Run(release, func(t *testing.T) { test(t, release) })
	}
}
