package reconcile

import (
	"testing"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/plan"
)

// docs/spec/cloud.md 8.3: the backup is of the first app, also while that cannot be applied.
func TestWhoseBackup(t *testing.T) {
	l := newLoop(t, parts{device: Device{Managed: true, Backup: true}})
	l.config.have.LocalMode = false
	f := func(want string, apps ...*compose.App) {
		t.Helper()
		target := plan.Target{}
		for _, a := range apps {
			target[a.UUID] = a
		}
		if got := l.restoring(target); got != want {
			t.Errorf("app %q, want %q", got, want)
		}
	}
	app := func(uuid string, id int, class, commit, rejected string) *compose.App {
		return &compose.App{UUID: uuid, ID: id, Class: class, Commit: commit, Rejected: rejected}
	}
	host, two, three := app("h", 1, "app", "c", ""), app("two", 2, "fleet", "c", ""), app("three", 3, "fleet", "c", "")
	f("")
	f("", host)
	f("two", host, three, two)
	f("", host, three, app("two", 2, "fleet", "", ""))
	f("", host, three, app("two", 2, "fleet", "c", "broken"))
	f("", host, three, app("unread", -1, "fleet", "", "cannot be read"))
	l.config.have.LocalMode = true
	f("", two)
	l.o.Device.Managed = false
	f("two", two)
	l.memory.backup = false
	f("", two)
}
