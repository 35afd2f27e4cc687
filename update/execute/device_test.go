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
	docs := memory{}
	x := &Executor{ledger: opened(t, docs), users: userlog.New(func(text string, stderr bool) {
		if stderr {
			text = "!" + text
		}
		said = append(said, text)
	})}
	step := plan.Step{Kind: plan.SetBoot, Boot: &settings.Boot{Why: "w", Values: map[string]string{"gpu_mem": "16", "a": "<b>"}, Write: func() error { writes++; return fails }}}
	if err := x.Run(t.Context(), step, false); err != nil {
		t.Error(err)
	}
	if len(docs) != 0 {
		t.Errorf("recorded %v of a change without a reboot", docs)
	}
	step.Boot.Reboot = true
	if err := x.Run(t.Context(), step, false); err != nil || docs["written"] == nil {
		t.Errorf("%v, recorded %v", err, docs)
	}
	step.Boot.Reboot, writes, said = false, 1, said[:2]
	fails = errors.New("read-only file system")
	if err := x.Run(t.Context(), step, false); !errors.Is(err, fails) || writes != 2 {
		t.Errorf("%v, %d writes", err, writes)
	}
	const values = ` boot config: {"a":"<b>","gpu_mem":"16"}`
	if want := []string{"Applying" + values, "Applied" + values, "Applying" + values}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}

// memory is durable storage that lasts as long as the test.
type memory map[string]any

func (memory) Load(string, int, any) (bool, error) { return false, nil }

func (m memory) Save(name string, _ int, v any) error {
	m[name] = v
	return nil
}

func opened(t *testing.T, docs memory) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(docs, ledger.Reboot{ID: "1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
