package before_test

import (
	"fmt"
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// A release whose image does not exist, is in a registry that cannot be reached, or is for other processors
// stops nothing, with either strategy, and goes on by itself once that has changed.
func TestNothingIsStoppedForAnImageThatIsNotToBeHad(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	old := harness.ServerImage("before/old:v1").Load(t)
	var first, second []harness.App
	var mend []func()
	why := map[string]string{}
	f := func(reason string, make func(name string) (harness.Image, func())) {
		for _, strategy := range strategies {
			n := len(first)
			image, later := make(fmt.Sprintf("before/new%d:v2", n))
			first = append(first, app(n, strategy, old))
			second = append(second, next(first[n], image))
			mend = append(mend, later)
			why[fmt.Sprint("shop", n)] = reason
		}
	}
	at := func(name string) harness.Image { return harness.Image{Name: registry.Addr + "/" + name} }
	of := func(name, machine string) harness.Image {
		i := harness.ServerImage(name)
		i.Machine = machine
		return i
	}
	f("manifest unknown", func(name string) (harness.Image, func()) {
		return at(name), func() { registry.Push(t, harness.ServerImage(name)) }
	})
	f(`/v2/": `, func(name string) (harness.Image, func()) {
		net := registry.Slow(t, 0)
		net.Refuse(true)
		return net.Of(registry.Push(t, harness.ServerImage(name))), func() { net.Refuse(false) }
	})
	f("is for s390x, which does not run on x86_64", func(name string) (harness.Image, func()) {
		return registry.Push(t, of(name, "s390x")), func() { registry.Push(t, harness.ServerImage(name)) }
	})
	kinds := []string{harness.DockerList, harness.OCIIndex}
	f("is for arm64 ppc64le, which does not run on x86_64", func(name string) (harness.Image, func()) {
		kind := kinds[len(first)%2]
		return registry.PushList(t, kind, name, of(name, "arm64"), of(name, "ppc64le")), func() {
			registry.PushList(t, kind, name, of(name, "arm64"), of(name, "amd64"))
		}
	})
	s.Apply(harness.TargetOf(first...))
	before := now(s)
	s.PostTarget(harness.TargetOf(second...))
	before.held(t, why)
	for _, later := range mend {
		later()
	}
	s.WaitSettled(2 * harness.Soon)
	for _, c := range s.Containers() {
		harness.WantVersion(t, c, "v2")
	}
	if n := unsure(s); n != 0 {
		t.Errorf("of %d images it was not known whether there is room", n)
	}
}

// Nothing of a release is stopped while one image of it cannot be pulled, whatever the strategy of the others.
func TestNothingIsStoppedForTheRestOfARelease(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	old := harness.ServerImage("before/old:v1").Load(t)
	fresh := registry.Push(t, harness.ServerImage("before/rest:v2"))
	missing := harness.Image{Name: registry.Addr + "/before/restless:v2"}
	one := app(0, strategies[0], old)
	db, gone := one.Services[0], one.Services[0]
	db.ID, db.Name = 2, "db"
	gone.ID, gone.Name = 3, "gone"
	one = one.With(one.Services[0], db, gone)
	s.Apply(harness.TargetOf(one))
	two, before := next(one, fresh), now(s)
	s.PostTarget(harness.TargetOf(two.With(two.Services[0], db.Using(missing.Name, 3000))))
	before.held(t, map[string]string{"shop0": missing.Name + ": manifest unknown"})
	registry.Push(t, harness.ServerImage("before/restless:v2"))
	s.WaitSettled(harness.Soon)
}

// A registry that asks who is there is told, by name and key or by a token for them; one that does not let the
// device in stops nothing.
func TestPrivateRegistries(t *testing.T) {
	open := harness.SharedRegistry(t)
	issuer, allowed := fakecloud.NewIssuer(t), true
	cloud := &fakecloud.Cloud{}
	cloud.Token = func(r fakecloud.Request) (int, string) {
		if r.User != "d_0123456789abcdef0123456789abcdef" || r.Password != harness.DeviceKey || !allowed {
			return http.StatusUnauthorized, ""
		}
		return http.StatusOK, issuer.Token(r)
	}
	byToken := open.Guarded(t, cloud.Start(t)+fakecloud.TokenPath, issuer.Name, issuer.Certificates)
	byName := open.Locked(t)
	old := harness.ServerImage("before/old:v1").Load(t)
	var first, second []harness.App
	for n, registry := range []*harness.Registry{byToken, byName} {
		first = append(first, app(n, strategies[n], old))
		second = append(second, next(first[n], registry.Of(open.Push(t, harness.ServerImage(fmt.Sprintf("before/private%d:v2", n))))))
	}
	s := harness.StartSupervisor(t, harness.Setup{Cloud: cloud})
	apply := func(apps []harness.App) {
		s.Assign(harness.TargetOf(apps...))
		s.PollNow()
	}
	apply(first)
	s.WaitSettled(harness.Soon)
	apply(second)
	s.WaitSettled(harness.Soon)
	if n := unsure(s); n != 0 {
		t.Errorf("of %d images it was not known whether there is room: %v", n, s.Log())
	}
	cloud.Set(func(*fakecloud.Cloud) { allowed = false })
	third := []harness.App{next(second[0], byToken.Of(open.Push(t, harness.ServerImage("before/private0:v3"))))}
	before := now(s)
	apply(append(third, second[1]))
	before.held(t, map[string]string{"shop0": "unauthorized"})
	cloud.Set(func(*fakecloud.Cloud) { allowed = true })
	s.WaitSettled(harness.Soon)
}

// One look serves all services that want an image. Where nothing is stopped before the download there is
// none. And where the engine reaches a registry that the supervisor does not, the update goes on.
func TestOneLookWhereItIsNeeded(t *testing.T) {
	registry := harness.SharedRegistry(t)
	gate := registry.Gate(t)
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	old := harness.ServerImage("before/old:v1").Load(t)
	release := func(a harness.App, image harness.Image) harness.App {
		two := next(a, image)
		for n := range 3 {
			more := two.Services[0]
			more.ID, more.Name = 10+n, fmt.Sprint("more", n)
			two.Services = append(two.Services, more)
		}
		return two
	}
	first := release(app(0, "download-then-kill", old), old)
	s.Apply(harness.TargetOf(first))
	s.Apply(harness.TargetOf(release(first, gate.Of(registry.Push(t, harness.ServerImage("before/one:v2"))))))
	if n, asked := s.Proxy.Counts()[lookCall], gate.Asked("Supervisor"); n != 0 || asked != 0 {
		t.Errorf("%d looks by the engine, %d calls of the registry, want none", n, asked)
	}
	first = release(app(0, strategies[0], old), old)
	old.Load(t) // it was removed with its release
	s.Apply(harness.TargetOf(first))
	s.Apply(harness.TargetOf(release(first, gate.Of(registry.Push(t, harness.ServerImage("before/two:v2"))))))
	if n, asked := s.Proxy.Counts()[lookCall], gate.Asked("Supervisor"); n != 1 || asked != 2 || s.CountSteps("preflight") != 1 {
		t.Errorf("%d looks by the engine, %d calls of the registry, want 1 and 2", n, asked)
	}
	if n := unsure(s); n != 0 {
		t.Errorf("of %d images it was not known whether there is room", n)
	}
	gate.Refuse("Supervisor")
	old.Load(t)
	s.Apply(harness.TargetOf(first))
	s.Apply(harness.TargetOf(release(first, gate.Of(registry.Push(t, harness.ServerImage("before/three:v2"))))))
	if n := unsure(s); n != 1 {
		t.Errorf("it was said %d times that the room is not known", n)
	}
}

// For an engine that cannot look the supervisor does: what the registry says to it counts, and one that it
// does not reach holds nothing up.
func TestEngineThatCannotLook(t *testing.T) {
	registry := harness.SharedRegistry(t)
	gate := registry.Gate(t)
	s := harness.NewSupervisor(t, harness.Setup{WithProxy: true})
	s.Proxy.Spoil(lookCall, harness.Absent, 0, -1)
	s.Start()
	old := harness.ServerImage("before/old:v1").Load(t)
	foreign := harness.ServerImage("before/abroad:v2")
	foreign.Machine = "s390x"
	one, two := app(0, strategies[0], old), app(1, strategies[1], old)
	s.Apply(harness.TargetOf(one, two))
	before := now(s)
	s.PostTarget(harness.TargetOf(
		next(one, harness.Image{Name: registry.Addr + "/before/unseen:v2"}),
		next(two, registry.PushList(t, harness.OCIIndex, "before/abroad:v2", foreign)),
	))
	before.held(t, map[string]string{"shop0": "the registry does not have it", "shop1": "for other processors only"})
	unseen := registry.Push(t, harness.ServerImage("before/unseen:v2"))
	abroad := registry.PushList(t, harness.OCIIndex, "before/abroad:v2", harness.ServerImage("before/abroad:v2"), foreign)
	s.Apply(harness.TargetOf(next(one, unseen), next(two, abroad)))
	if n := unsure(s); n != 0 {
		t.Errorf("of %d images it was not known whether there is room", n)
	}
	gate.Refuse("Supervisor")
	hidden := gate.Of(registry.Push(t, harness.ServerImage("before/hidden:v3")))
	s.Apply(harness.TargetOf(next(one, hidden), next(two, abroad)))
	if n := unsure(s); n != 1 {
		t.Errorf("it was said %d times that the room is not known", n)
	}
}

// An update lock that is held for a while makes no further looks.
func TestLookIsNotRepeatedForALock(t *testing.T) {
	s, registry := harness.StartSupervisor(t, harness.Setup{}), harness.SharedRegistry(t)
	one := app(0, strategies[0], harness.ServerImage("before/old:v1").Load(t))
	s.Apply(harness.TargetOf(one))
	s.LockUpdates(one.ID, one.Services[0].Name)
	s.PostTarget(harness.TargetOf(next(one, registry.Push(t, harness.ServerImage("before/locked:v2")))))
	harness.Until(t, harness.Soon, "three attempts to take the lock", func() error {
		if n := s.CountSteps("take lock"); n < 4 {
			return fmt.Errorf("%d steps take lock", n)
		}
		return nil
	})
	if n := s.CountSteps("preflight"); n != 1 {
		t.Errorf("%d looks, want 1", n)
	}
	s.UnlockUpdates(one.ID, one.Services[0].Name)
	s.WaitSettled(harness.Soon)
}
