package desired

import (
	"strings"
	"testing"

	"resin-supervisor/update/target"
)

// engine.md 2.5: which apps of a target cannot be on the device together.
func TestClashes(t *testing.T) {
	app := func(uuid string, id int, commit string, release int, services ...string) *target.App {
		a := &target.App{UUID: uuid, ID: id, Name: "app-" + uuid, Release: &target.Release{Commit: commit, ID: release, Services: map[string]*target.Service{}}}
		for _, name := range services {
			a.Release.Services[name] = &target.Service{Name: name, ImageID: 5}
		}
		return a
	}
	f := func(want string, apps ...*target.App) {
		t.Helper()
		s := &target.State{Apps: map[string]*target.App{}}
		for _, a := range apps {
			s.Apps[a.UUID] = a
		}
		found := clashes(s)
		if want == "" {
			if len(found) > 0 {
				t.Errorf("found %v", found)
			}
			return
		}
		for _, uuid := range []string{"a", "b"} {
			err := found[uuid]
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "apps app-a (uuid a) and app-b (uuid b) ") {
				t.Errorf("%s: %v, want %s", uuid, err, want)
			}
		}
	}
	f("")
	f("the container web_5_1_c", app("a", 1, "c", 1, "db", "web"), app("b", 2, "c", 1, "web", "x"))
	f("the id 1: give one of them another id", app("a", 1, "c", 1, "web"), app("b", 1, "d", 2))
	f("", app("a", 1, "c", 1, "web"), app("b", 2, "c", 2, "web"))
	f("", app("a", 1, "c", 1, "web"), app("b", 2, "d", 1, "web"))
	f("", app("a", 1, "c", 1, "web"), app("b", 2, "c", 1, "db"))
	f("", app("a", 1, "c", 1, "web"), &target.App{UUID: "b", ID: 2})
	f("", app("a", target.UnknownID, "c", 1, "web"), &target.App{UUID: "b", ID: target.UnknownID})
}
