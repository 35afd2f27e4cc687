package compose

import (
	"reflect"
	"testing"
	"time"
)

// Conformance 16.
func TestParseSize(t *testing.T) {
	f := func(in string, want int64, wantOK bool) {
		t.Helper()
		if got, ok := parseSize(in); ok != wantOK || ok && got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d, %v", in, got, ok, want, wantOK)
		}
	}
	f("64", 64, true)
	f("64b", 64, true)
	f("64k", 65536, true)
	f("64kb", 65536, true)
	f("64KiB", 65536, true)
	f("64MB", 67108864, true)
	f("1g", 1073741824, true)
	f("1.5g", 1610612736, true)
	f(" 2 mib ", 2<<20, true)
	f("1t", 1<<40, true)
	f("0", 0, true)
	f("8388607t", 8388607<<40, true)
	f("8388608t", 0, false) // 2^63
	f("9999999999999999999999", 0, false)
	f("9999999.5t", 0, false)
	f("", 0, false)
	f("g", 0, false)
	f("-1", 0, false)
	f("1.2.3k", 0, false)
	f("1e3", 0, false)
	f("12 apples", 0, false)
}

func TestParseDuration(t *testing.T) {
	f := func(in string, want time.Duration, wantOK bool) {
		t.Helper()
		if got, ok := parseDuration(in); ok != wantOK || got != want {
			t.Errorf("parseDuration(%q) = %v, %v; want %v, %v", in, got, ok, want, wantOK)
		}
	}
	f("10s", 10*time.Second, true)
	f("1m30s", 90*time.Second, true)
	f("1h 2m", 62*time.Minute, true)
	f("1.5h", 90*time.Minute, true)
	f("250ms", 250*time.Millisecond, true)
	f("3us4ns", 3004, true)
	f("3µs", 3000, true)
	f("2d", 48*time.Hour, true)
	f("1w", 168*time.Hour, true)
	f("0", 0, true)
	f("0s", 0, true)
	f("", 0, false)
	f("10", 0, false)
	f("s", 0, false)
	f("-1s", 0, false)
	f("1y", 0, false)
	f("1m30", 0, false)
	f("1..5s", 0, false)
	f("99999999999w", 0, false)
}

// Conformance 17.
func TestSplitWords(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		if got := splitWords(in); !reflect.DeepEqual(got, want) {
			t.Errorf("splitWords(%q) = %q, want %q", in, got, want)
		}
	}
	f(`sh -c "echo $X && ls *"`, "sh", "-c", "echo $X && ls *")
	f(`a && b`, "a", "&&", "b")
	f(`a;b|c>d`, "a", ";", "b", "|", "c", ">", "d")
	f(`echo '$HOME' "it's" \"x\ y\"`, "echo", "$HOME", "it's", `"x y"`)
	f(`"a \"b\" \$c \\ \d"`, `a "b" $c \ \d`)
	f(`'back\slash'`, `back\slash`)
	f(`*.txt [a-z]? #c`, "*.txt", "[a-z]?", "#c")
	f("one\ttwo\nthree  ", "one", "two", "three")
	f(`"" ''x`, "", "x")
	f(`a"b c"d`, "ab cd")
	f(`"open quote`, "open quote")
	f(`end\`, "end")
	f("")
	f("   ")
}

func TestParseWhole(t *testing.T) {
	f := func(in string, want int64, wantOK bool) {
		t.Helper()
		if got, ok := parseWhole(in); ok != wantOK || ok && got != want {
			t.Errorf("parseWhole(%q) = %d, %v; want %d, %v", in, got, ok, want, wantOK)
		}
	}
	f("12", 12, true)
	f("-3", -3, true)
	f("7.00", 7, true)
	f("7.", 7, true)
	f("7.5", 0, false)
	f("+7", 0, false)
	f("", 0, false)
	f("x", 0, false)
}
