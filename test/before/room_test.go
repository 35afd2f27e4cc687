package before_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

const mega = 1 << 20

// An image of 20 MiB that does not shrink takes 40 on its way: as it is downloaded and as it is stored. Only
// with less than that nothing is stopped for it, and what is said in the meantime is why. Layers that are on the
// device take nothing.
func TestNothingIsStoppedWithoutRoom(t *testing.T) {
	s, registry := harness.SmallDevice(t, 220*mega)
	one := app(0, "kill-then-download", registry.Push(t, harness.ServerImage("room/web:v1")))
	two := next(one, registry.Push(t, harness.ServerImage("room/web:v2").WithBlob(20*mega)))
	s.Apply(harness.TargetOf(one))
	s.Engine.Fill(t, 36*mega)
	before := now(s)
	s.PostTarget(harness.TargetOf(two))
	before.held(t, map[string]string{"shop0": "not enough room for the download: it takes 41 MB and 3"})
	s.Engine.Fill(t, 46*mega)
	s.WaitSettled(harness.Soon)
	harness.WantVersion(t, s.Containers()["web0"], "v2")
	if n := unsure(s); n != 0 {
		t.Errorf("of %d images it was not known whether there is room", n)
	}
}

// With delete-then-download what the old image takes counts as room, as far as no other image has the same
// layers.
func TestRoomOfTheImageThatGoes(t *testing.T) {
	s, registry := harness.SmallDevice(t, 220*mega)
	v1 := registry.Push(t, harness.ServerImage("room/app:v1").WithBlob(30*mega))
	v2 := registry.Push(t, harness.ServerImage("room/app:v2").WithBlob(20*mega))
	other := registry.Push(t, harness.ServerImage("room/other:v1"))
	one, beside := app(0, "delete-then-download", v1), app(1, "", other)
	s.Apply(harness.TargetOf(one, beside))
	s.Engine.Fill(t, 8*mega)
	before := now(s)
	s.PostTarget(harness.TargetOf(next(one, v2), beside))
	before.held(t, map[string]string{"shop0": "it takes 41 MB and 3"})
	s.Engine.Fill(t, 14*mega)
	s.WaitSettled(harness.Soon)
	harness.WantVersion(t, s.Containers()["web0"], "v2")
}
