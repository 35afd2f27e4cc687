package settings

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Longest is the largest duration of a variable. Calculations with several of them cannot overflow.
const Longest = 10 * 365 * 24 * time.Hour

// read sets the field of a variable. It returns false and changes nothing if the text is invalid.
func (v *variable) read(s *Settings, text string) bool {
	switch field := v.field(s).(type) {
	case *bool:
		on, ok := boolean(text)
		if ok {
			*field = on
		}
		return ok
	case *int:
		n, ok := whole(text, math.MaxInt32)
		if ok {
			*field = int(n)
		}
		return ok
	case *time.Duration:
		ms, ok := whole(text, Longest.Milliseconds())
		if ok {
			*field = time.Duration(ms) * time.Millisecond
		}
		return ok
	case *string:
		*field = text
	}
	return true
}

// text returns the value of a variable in its canonical form.
func (v *variable) text(s *Settings) string {
	switch field := v.field(s).(type) {
	case *bool:
		return strconv.FormatBool(*field)
	case *int:
		return strconv.Itoa(*field)
	case *time.Duration:
		return strconv.FormatInt(field.Milliseconds(), 10)
	case *string:
		return *field
	}
	return ""
}

// Flag returns the text of a boolean value.
func Flag(on bool) string { return strconv.FormatBool(on) }

// boolean parses a boolean value, in upper or lower case (docs/spec/cloud.md 6.4).
func boolean(text string) (on, ok bool) {
	switch strings.ToLower(text) {
	case "1", "true", "on":
		return true, true
	case "0", "false", "off":
		return false, true
	}
	return false, false
}

// whole parses an integer from 0 to most. A fraction of zeros is allowed; any other text after the number is
// invalid (docs/spec/cloud.md 6.4, Q15).
func whole(text string, most int64) (int64, bool) {
	digits, fraction, _ := strings.Cut(text, ".")
	if strings.Trim(fraction, "0") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n >= 0 && n <= most && digits[0] != '+'
}

// quote returns a value in quotes, shortened to fit on a line.
func quote(text string) string {
	const most = 160
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return strconv.Quote(text)
}
