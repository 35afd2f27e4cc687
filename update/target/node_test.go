package target

import "testing"

func TestTruthy(t *testing.T) {
	for _, s := range []any{true, 1.0, "1", "true", "TRUE", "on", "On"} {
		if !Truthy(s) {
			t.Errorf("%#v is not truthy", s)
		}
	}
	for _, s := range []any{nil, false, 0.0, 2.0, "", "0", "yes", "false", "2", " 1", []any{"1"}} {
		if Truthy(s) {
			t.Errorf("%#v is truthy", s)
		}
	}
}
