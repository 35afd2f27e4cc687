package execute

import (
	"errors"
	"slices"
	"testing"

	"resin-supervisor/update/ledger"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/userlog"
)

// cloud.md 79: what is said of writing the boot configuration.
func TestSaysWhatItWritesForBoot(t *testing.T) {
	var said []string
	var fails error
	writes := 0
	x := &Executor{ledger: opened(t), users: userlog.New(func(text string, stderr bool) {
		if stderr {
			text = "!" + text
		}
		said = append(said, text)
	})}
	step := plan.Step{Kind: plan.SetBoot, Boot: &settings.Boot{Values: map[string]string{"gpu_mem": "16", "a": "<b>"}, Write: func() error { writes++; return fails }}}
	if err := x.Run(t.Context(), step, false); err != nil {
		t.Error(err)
	}
	fails = errors.New("read-only file system")
	if err := x.Run(t.Context(), step, false); !errors.Is(err, fails) || writes != 2 {
		t.Errorf("%v, %d writes", err, writes)
	}
	const values = ` boot config: {"a":"<b>","gpu_mem":"16"}`
	if want := []string{"Applying" + values, "Applied" + values, "Applying" + values}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}

// nowhere is durable storage that forgets.
type nowhere struct{}

func (nowhere) Load(string, int, any) (bool, error) { return false, nil }
func (nowhere) Save(string, int, any) error         { return nil }

func opened(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(nowhere{}, ledger.Reboot{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
