package update

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/view"
)

// bootBoard is a board whose boot configuration a test decides about.
type bootBoard struct {
	looks  int
	change *settings.Boot
	err    error
}

func (b *bootBoard) Current() map[string]string { return nil }
func (b *bootBoard) Differs(map[string]string) (*settings.Boot, error) {
	b.looks++
	return b.change, b.err
}

// The boot configuration is looked at when it may differ, not on every pass; one that cannot be had is
// looked at again after 1, 2, 4 ... seconds, and users are told once.
func TestLooksAtBootConfiguration(t *testing.T) {
	var said []string
	b := &bootBoard{}
	x := &executor{say: func(text string, _ bool) { said = append(said, text) }}
	l := &loop{exec: x, log: zerolog.Nop(), backoff: newBackoff(10 * time.Second), config: configuration{boot: boot{board: b}}}
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
	l.config.boot.looked = false
	look(2, b.change)
	look(2, b.change)
	l.finish(result{step: plan.Step{Kind: plan.SetBoot, Boot: b.change}})
	look(3, b.change)

	b.err = &view.FixedBootError{Key: "kernel"}
	l.config.boot.looked = false
	for i, wait := range []time.Duration{1, 2, 4, 8, 10, 10} {
		look(4+i, nil)
		if in := time.Until(l.config.boot.again).Round(time.Second); in != wait*time.Second {
			t.Errorf("failure %d: looks again in %v, want %v", i+1, in, wait*time.Second)
		}
		look(4+i, nil)
		if !l.status.failed || len(l.status.problems) != 1 || l.status.problems[0].Retry != l.config.boot.again {
			t.Errorf("shown: %+v", l.status)
		}
		l.config.boot.again = time.Now()
	}
	b.err = errors.New("no such thing")
	look(10, nil)
	b.err, b.change = nil, nil
	l.config.boot.again = time.Now()
	look(11, nil)
	look(11, nil)
	b.err = errors.New("no such thing")
	l.config.boot.looked = false
	look(12, nil)
	if want := []string{"Attempt to change blacklisted config value kernel", "Error setting boot config: no such thing", "Error setting boot config: no such thing"}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
	if !l.config.boot.again.Before(time.Now().Add(2 * time.Second)) {
		t.Error("the waits did not begin anew")
	}
}

// cloud.md 79: what is said of writing the boot configuration.
func TestSaysWhatItWritesForBoot(t *testing.T) {
	var said []string
	var fails error
	writes := 0
	x := &executor{say: func(text string, stderr bool) {
		if stderr {
			text = "!" + text
		}
		said = append(said, text)
	}}
	step := plan.Step{Kind: plan.SetBoot, Boot: &settings.Boot{Values: map[string]string{"gpu_mem": "16", "a": "<b>"}, Write: func() error { writes++; return fails }}}
	if err := x.run(t.Context(), step, false); err != nil {
		t.Error(err)
	}
	fails = errors.New("read-only file system")
	if err := x.run(t.Context(), step, false); !errors.Is(err, fails) || writes != 2 {
		t.Errorf("%v, %d writes", err, writes)
	}
	const values = ` boot config: {"a":"<b>","gpu_mem":"16"}`
	if want := []string{"Applying" + values, "Applied" + values, "Applying" + values, "!Error setting boot config: read-only file system"}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}
