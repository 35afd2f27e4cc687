// Package harness owns the real things that the black-box tests run against: the container engine,
// an image registry, the supervisor's own binary, slow networks and broken sockets. It starts
// processes, waits for facts and hands them back; it holds no opinion on what is right.
//
// Every test binary must run in a network and mount namespace of its own, because an engine changes
// the network it runs in:
//
//	go test -exec "$PWD/../build/host/bed.sh" ./...
//
// A package calls Main from its TestMain. Images and devices are on the one engine of the package, unless a test
// names another:
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
//	func TestX(t *testing.T) {
//		image := harness.ServerImage("shop/web:1").Load(t)
//		s := harness.StartSupervisor(t, harness.Setup{})
//		s.Apply(harness.TargetOf(harness.Shop("aaaa1", 1, image.Service("web", 1))))
//		...
//	}
//
// NewManaged makes a device of a cloud. Setup.WithProxy counts and breaks the calls to the engine, and Setup.Bus
// gives the host a message bus.
//
// The tests of one package share one engine, so they do not run in parallel; packages do.
package harness
