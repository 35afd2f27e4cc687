// Package action_test proves what the device API does to the whole device, and what comes of requests
// that meet one another or a lock: on a real engine and a real message bus.
package action_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
