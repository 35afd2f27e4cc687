package settings

import "testing"

// For any text of a variable, the settings have a value within limits, and an invalid text causes a warning.
func FuzzParse(f *testing.F) {
	f.Add("SUPERVISOR_POLL_INTERVAL", "900000")
	f.Add("SUPERVISOR_POLL_INTERVAL", "1.")
	f.Add("SUPERVISOR_LOCAL_MODE", "On")
	f.Add("RESIN_SUPERVISOR_DELTA", "\xff")
	f.Add("RESIN_OVERRIDE_LOCK", "1")
	f.Fuzz(func(t *testing.T, name, text string) {
		config := Fold(map[string]string{name: text})
		s, warnings := Parse(config)
		if s.PollInterval < 0 || s.RollbackTimeout < 0 || s.DeltaRetryCount < 0 {
			t.Fatalf("%s=%q: %+v", name, text, s)
		}
		for _, w := range warnings {
			if _, set := config[w.Name]; !set || w.Text == "" {
				t.Fatalf("%s=%q: %+v", name, text, w)
			}
		}
		if again, w := Parse(Current(s)); again != s || len(w) > 0 {
			t.Fatalf("%s=%q: %+v becomes %+v, %v", name, text, s, again, w)
		}
	})
}
