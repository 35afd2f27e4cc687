package reconcile

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/ledger"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// bootBoard is a board whose boot configuration a test decides about.
type bootBoard struct {
	looks   int
	change  *settings.Boot
	refused map[string]error
	err     error
}

func (b *bootBoard) Current() map[string]string { return nil }
func (b *bootBoard) Differs(map[string]string) (*settings.Boot, map[string]error, error) {
	b.looks++
	return b.change, b.refused, b.err
}

// The boot configuration is looked at when it may differ, not on every pass; one that cannot be read is
// looked at again after 1, 2, 4 ... seconds, and users are told once. What of it can be read is changed.
func TestLooksAtBootConfiguration(t *testing.T) {
	var said []string
	b := &bootBoard{}
	l := newLoop(t, parts{said: &said, limit: 10 * time.Second, device: Device{Boot: b}})
	l.config.boot.found = false
	look := func(looks int, change *settings.Boot) {
		t.Helper()
		got, next := l.bootChange()
		if b.looks != looks || got != change || next.IsZero() != (b.err == nil) {
			t.Errorf("%d looks, change %v, next %v", b.looks, got, next)
		}
	}
	look(1, nil)
	look(1, nil)
	b.change = &settings.Boot{Reboot: true}
	l.config.boot.compared = false
	look(2, b.change)
	look(2, b.change)
	l.finish(result{step: plan.Step{Kind: plan.SetBoot, Boot: b.change}})
	look(3, b.change)

	b.change, b.err = nil, errors.New("no such disk")
	l.config.boot.compared = false
	for i, wait := range []time.Duration{1, 2, 4, 8, 10, 10} {
		look(4+i, nil)
		if in := time.Until(l.config.boot.again).Round(time.Second); in != wait*time.Second {
			t.Errorf("failure %d: looks again in %v, want %v", i+1, in, wait*time.Second)
		}
		look(4+i, nil)
		if !l.status.Failed || len(l.status.Problems) != 1 || l.status.Problems[0].Retry != l.config.boot.again {
			t.Errorf("shown: %+v", l.status)
		}
		l.config.boot.again = time.Now()
	}
	b.err = errors.New("no such thing")
	b.change = &settings.Boot{Why: "the rest"}
	look(10, b.change)
	b.err, b.change = nil, nil
	l.config.boot.again = time.Now()
	look(11, nil)
	look(11, nil)
	b.err = errors.New("no such thing")
	l.config.boot.compared = false
	look(12, nil)
	if want := []string{"Error setting boot config: no such disk", "Error setting boot config: no such thing", "Error setting boot config: no such thing"}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
	if !l.config.boot.again.Before(time.Now().Add(2 * time.Second)) {
		t.Error("the waits did not begin again")
	}
}

// host.md 9, 14: users are told once of each value that is refused, and see it for as long as it is; the
// others are written, and nothing is tried again.
func TestRefusedVariables(t *testing.T) {
	var said []string
	b := &bootBoard{change: &settings.Boot{Why: "a", Reboot: true}}
	l := newLoop(t, parts{said: &said, limit: 10 * time.Second, device: Device{Boot: b}})
	l.config.boot.found = false
	look := func(refused map[string]error, want ...string) {
		t.Helper()
		b.refused, l.config.boot.compared, said = refused, false, nil
		change, next := l.bootChange()
		if change != b.change || !next.IsZero() || !slices.Equal(said, want) {
			t.Errorf("change %v, next %v, said %q", change, next, said)
		}
		var subjects []string
		for _, p := range l.refusals() {
			subjects = append(subjects, p.Subject)
			if why := refused[strings.TrimPrefix(p.Subject, "variable ")]; why == nil || p.Error != why.Error() || p.At.IsZero() || !p.Retry.IsZero() {
				t.Errorf("shown: %+v", p)
			}
		}
		if len(subjects) != len(refused) || !slices.IsSorted(subjects) {
			t.Errorf("shown: %q", subjects)
		}
	}
	const fixed, list = "HOST_CONFIG_kernel", "HOST_CONFIG_dtparam"
	kernel, odd := &view.FixedBootError{Key: "kernel"}, errors.New("not a list")
	const saidKernel = "Attempt to change blacklisted config value kernel"
	const saidList = "Error setting boot config: HOST_CONFIG_dtparam: not a list. It stays as it is, the other variables are set"
	look(map[string]error{fixed: kernel}, saidKernel)
	look(map[string]error{fixed: kernel})
	look(map[string]error{fixed: kernel, list: odd}, saidList)
	b.change = nil
	look(map[string]error{fixed: kernel, list: odd})
	look(map[string]error{list: odd})
	look(map[string]error{list: errors.New("too long")}, strings.Replace(saidList, "not a list", "too long", 1))
	look(nil)
	look(map[string]error{list: odd, fixed: kernel}, saidList, saidKernel)
	if len(l.status.Problems) > 0 || l.config.boot.err != nil {
		t.Errorf("tried again: %v, %v", l.status.Problems, l.config.boot.err)
	}
}

// What is undone at every start of the device is written in three boots in a row, and not for ever; what
// was still there after a reboot counts no more.
func TestBootConfigurationThatDoesNotLast(t *testing.T) {
	docs, writes := documents{}, 0
	b := &bootBoard{}
	boots := func(id string, why string) (wrote bool) {
		t.Helper()
		l := newLoop(t, parts{docs: docs, limit: time.Second, device: Device{Boot: b}, reboot: ledger.Reboot{ID: id}})
		l.config.boot.found = false
		b.change = nil
		if why != "" {
			b.change = &settings.Boot{Why: why, Reboot: why != "fan", Write: func() error { writes++; return nil }}
		}
		change, _ := l.bootChange()
		for range 2 { // also in the same boot
			if change != nil && (change.Write() != nil || change.Reboot && l.o.Ledger.BootWritten(change) != nil) {
				t.Error("not written")
			}
		}
		if (l.config.boot.err != nil) == (change != nil) && why != "" {
			t.Errorf("%s: %v", id, l.config.boot.err)
		}
		return change != nil
	}
	for _, want := range []bool{true, true, true, false, false} {
		if got := boots(time.Now().String(), "a"); got != want {
			t.Errorf("written is %v after %d times", got, writes)
		}
	}
	if !boots("other", "b") || !boots("again", "a") || !boots("twice", "a") || boots("held", "") || !boots("1", "a") || !boots("2", "a") || !boots("3", "a") || boots("4", "a") {
		t.Errorf("counted from another one on: %d", writes)
	}
	for i := range 5 {
		if !boots(time.Now().String(), "fan") {
			t.Errorf("without a reboot: %d", i)
		}
	}
}

// What cannot be written leads to no reboot, and holds up nothing; a reboot that others need stays, as
// does that for what was written in part, which counts as written in this boot.
func TestBootConfigurationThatCannotBeWritten(t *testing.T) {
	f := func(when string, before, alone bool, after string, stays bool) {
		t.Helper()
		b := &bootBoard{change: &settings.Boot{Why: "a", Reboot: true}}
		var said []string
		docs := documents{}
		l := newLoop(t, parts{docs: docs, said: &said, device: Device{Boot: b}, reboot: ledger.Reboot{ID: "1", Breadcrumb: filepath.Join(t.TempDir(), "d", "crumb")}})
		l.config.boot.found, l.found.rebootRequested = false, before
		if err := l.o.Ledger.Reboot.Request(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			change, _ := l.bootChange()
			l.finish(result{step: plan.Step{Kind: plan.RequireReboot, Boot: change}})
			if !alone {
				l.finish(result{step: plan.Step{Kind: plan.Set, Settings: &settings.Settings{}}})
			}
			if !l.found.rebootRequested {
				t.Errorf("%s: no reboot", when)
			}
			b.change = &settings.Boot{Why: after, Reboot: true}
			l.finish(result{step: plan.Step{Kind: plan.SetBoot, Boot: change}, err: errors.New("full")})
			if change, next := l.bootChange(); change != nil || next.IsZero() || l.found.rebootRequested != stays || l.o.Ledger.Reboot.Requested() != stays || !l.status.Failed || len(l.status.Problems) != 1 {
				t.Errorf("%s: %v %v, reboot %v, %v", when, change, next, l.found.rebootRequested, l.o.Ledger.Reboot.Requested())
			}
			if noted := len(docs["written"]) > len("[]"); noted != (after != "a") {
				t.Errorf("%s: noted that something was written: %v", when, noted)
			}
			l.config.boot.again = time.Now()
			if !alone {
				return
			}
		}
		if l.config.boot.failed != 3 || !slices.Equal(said, []string{"Error setting boot config: full"}) {
			t.Errorf("%s: %d failures, said %q", when, l.config.boot.failed, said)
		}
	}
	f("nothing was written", false, true, "a", false)
	f("written in part", false, true, "b", true)
	f("others asked before", true, true, "a", true)
	f("others asked since", false, false, "a", true)
}

// cloud.md 6.5: until somebody configures the device, what is there stays, whatever becomes of it.
func TestBootConfigurationNobodyAskedFor(t *testing.T) {
	b := &bootBoard{change: &settings.Boot{Reboot: true}}
	l := newLoop(t, parts{device: Device{Boot: b}})
	if change, _ := l.bootChange(); change != nil || b.looks != 0 {
		t.Errorf("%v, %d looks", change, b.looks)
	}
	if err := l.o.Targets.SetLocal(&target.State{Config: map[string]string{}}); err != nil {
		t.Fatal(err)
	}
	l.config.set(l.o.Targets, &l.o.Device)
	if change, _ := l.bootChange(); change == nil {
		t.Error("a target changes nothing")
	}
}
