package api

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// The rules for single values of a request (docs/spec/device-api.md 1.6).

// intText reads an optional minus, digits and an optional dot with zeros only: 7, 7.0, 007.
func intText(s string) (int, bool) {
	whole, zeros, _ := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" || strings.Trim(zeros, "0") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(whole)
	if err != nil {
		return 0, false
	}
	return n, true
}

// intValue reads a whole number or the text of one.
func intValue(raw json.RawMessage) (int, bool) {
	switch v := value(raw).(type) {
	case string:
		return intText(v)
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return 0, false
		}
		return intText(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return 0, false
}

// truthy tells whether a switch is on: true, 1, or 1, true, on as text in any letter case.
func truthy(raw json.RawMessage) bool {
	switch v := value(raw).(type) {
	case bool:
		return v
	case float64:
		return v == 1
	case string:
		return v == "1" || strings.EqualFold(v, "true") || strings.EqualFold(v, "on")
	}
	return false
}

// nameText is a name, empty when the value is not a name.
func nameText(raw json.RawMessage) string {
	s, _ := value(raw).(string)
	if s == "null" || s == "undefined" {
		return ""
	}
	return s
}

// value decodes a scalar. It is nil for a list, an object and an absent value.
func value(raw json.RawMessage) any {
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
		return nil
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	return v
}
