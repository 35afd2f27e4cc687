package compose

import (
	"resin-supervisor/update/engine/doc"
)

// readHealthcheck merges the health checks of composition and image; the composition wins (docs/spec/engine.md 2.4).
// Without either there is none. Zero counts as unset, as it does for the engine.
func readHealthcheck(sec *section, image *doc.Health) *doc.Health {
	out := doc.Health{Test: []string{"NONE"}}
	if image != nil && len(image.Test) > 0 {
		out = *image
	}
	m := sec.mapping("healthcheck")
	if test := readTest(m); len(test) > 0 {
		out.Test = test
	}
	setTime := func(key string, field *int64) {
		if d, given := m.duration(key); given && d != 0 {
			*field = int64(d)
		}
	}
	setTime("interval", &out.Interval)
	setTime("timeout", &out.Timeout)
	setTime("start_period", &out.StartPeriod)
	if retries := m.small("retries"); retries != 0 {
		out.Retries = retries
	}
	if m.flag("disable", false) {
		out = doc.Health{Test: []string{"NONE"}}
	}
	m.finish()
	return &out
}

// readTest reads a shell line or a list in the engine's form. An empty one counts as absent.
func readTest(m *section) []string {
	v := m.take("test")
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return m.scalars("test", v)
	}
	line, ok := scalar(v)
	if !ok {
		m.warnType("test", "a command")
	}
	if line == "" {
		return nil
	}
	return []string{"CMD-SHELL", line}
}
