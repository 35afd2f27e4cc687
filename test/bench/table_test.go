package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table collects what was measured, beside what is allowed.
type table struct{ rows [][4]string }

// add takes one measured value and its budget; format prints either.
func add[V int64 | float64 | time.Duration](t *table, what string, measured, budget V, format func(V) string) {
	verdict := "within"
	if measured > budget {
		verdict = "OVER"
	}
	t.rows = append(t.rows, [4]string{what, format(measured), format(budget), verdict})
}

// note adds a value that has no budget of its own.
func (t *table) note(what, measured string) {
	t.rows = append(t.rows, [4]string{what, measured, "", ""})
}

func (t *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-66s %14s %12s\n", "what", "measured", "budget")
	for _, r := range t.rows {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-66s %14s %12s  %s", r[0], r[1], r[2], r[3]), " ") + "\n")
	}
	return b.String()
}

func mebibytes(kib int64) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

func count(n float64) string { return fmt.Sprintf("%.1f", n) }

func ratio(r float64) string { return fmt.Sprintf("%.2f x", r) }

func span(d time.Duration) string {
	switch {
	case d < 100*time.Microsecond:
		return fmt.Sprintf("%.1f us", float64(d.Nanoseconds())/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func median[V int64 | float64 | time.Duration](values []V) V {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
