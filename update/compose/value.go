package compose

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// scalar is a compose scalar as text; false for null, lists and mappings.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int:
		return strconv.Itoa(v), true
	}
	return "", false
}

// parseFlag reads a boolean in the spellings of YAML.
func parseFlag(v any) (value, ok bool) {
	text, _ := scalar(v)
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

// parseWhole reads an integer: an optional minus, digits, and perhaps a fraction of zeros.
func parseWhole(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if whole, fraction, found := strings.Cut(s, "."); found {
		if strings.Trim(fraction, "0") != "" {
			return 0, false
		}
		s = whole
	}
	if strings.HasPrefix(s, "+") {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// parseSize reads a number of bytes: digits, perhaps decimals, and a unit b, k, m, g or t, perhaps with b or ib. Case
// does not matter. Units are powers of 1024 (docs/spec/engine.md 2.4).
func parseSize(s string) (int64, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.') {
		end++
	}
	shift, ok := sizeShift(strings.TrimSpace(s[end:]))
	if !ok || end == 0 {
		return 0, false
	}
	if n, err := strconv.ParseInt(s[:end], 10, 64); err == nil {
		return n << shift, n <= math.MaxInt64>>shift
	}
	f, err := strconv.ParseFloat(s[:end], 64)
	f = math.Ldexp(f, int(shift))
	if err != nil || f >= math.MaxInt64 {
		return 0, false
	}
	return int64(f), true
}

func sizeShift(unit string) (uint, bool) {
	switch unit {
	case "", "b":
		return 0, true
	case "k", "kb", "kib":
		return 10, true
	case "m", "mb", "mib":
		return 20, true
	case "g", "gb", "gib":
		return 30, true
	case "t", "tb", "tib":
		return 40, true
	}
	return 0, false
}

// parseDuration reads a duration as Go writes it, also with days and weeks: "1h30m", "1.5d", "0".
func parseDuration(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" || s == "0" {
		return 0, s == "0"
	}
	total := 0.0
	for s != "" {
		part, rest, ok := durationPart(s)
		if !ok {
			return 0, false
		}
		total += part
		s = strings.TrimSpace(rest)
	}
	if total = math.Round(total); total >= math.MaxInt64 {
		return 0, false
	}
	return time.Duration(total), true
}

// durationPart reads one number with its unit, in nanoseconds.
func durationPart(s string) (nanoseconds float64, rest string, ok bool) {
	rest = strings.TrimLeft(s, "0123456789.")
	n, err := strconv.ParseFloat(s[:len(s)-len(rest)], 64)
	end := strings.IndexAny(rest, "0123456789. ")
	if end < 0 {
		end = len(rest)
	}
	unit, ok := durationUnit(rest[:end])
	return n * float64(unit), rest[end:], ok && err == nil
}

func durationUnit(unit string) (time.Duration, bool) {
	switch unit {
	case "ns":
		return time.Nanosecond, true
	case "us", "µs", "μs":
		return time.Microsecond, true
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	case "w":
		return 7 * 24 * time.Hour, true
	}
	return 0, false
}
