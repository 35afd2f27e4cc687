package hostos

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestGauge(t *testing.T) {
	g := NewGauge()
	if r := g.Resident(); r < 1<<20 || r > 1<<34 {
		t.Errorf("%d bytes are resident", r)
	}
	before := g.CPU()
	for g.CPU() == before {
	}
	if spent := g.CPU() - before; spent <= 0 || spent > time.Minute {
		t.Errorf("%v of processor time", spent)
	}
	path := filepath.Join(t.TempDir(), "temp")
	if got := (Gauge{path}).Celsius(); got != 0 {
		t.Errorf("%v degrees without a sensor", got)
	}
	if err := os.WriteFile(path, []byte("48312\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (Gauge{path}).Celsius(); got != 48.312 {
		t.Errorf("%v degrees, want 48.312", got)
	}
	if n := testing.AllocsPerRun(100, func() { g.Resident(); g.CPU(); g.Celsius() }); n > 4 {
		t.Errorf("a reading allocates %v times", n)
	}
}
