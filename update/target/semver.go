package target

import (
	"cmp"
	"strconv"
	"strings"
)

// semver is a version for the comparison in contracts. Build metadata does not count.
type semver struct {
	numbers [3]uint64
	given   int    // how many numbers were given; the others are 0
	pre     string // dotted pre-release identifiers, empty for a release
}

// lowest is the pre-release below all others.
const lowest = "0"

// parseFact reads a version of the device. It may have a leading v, only one or two numbers, or words after it.
func parseFact(s string) (semver, bool) {
	s, _, _ = strings.Cut(strings.TrimSpace(s), " ")
	v, rest, ok := parseNumbers(s)
	if !ok || v.given == 0 {
		return semver{}, false
	}
	if pre, found := strings.CutPrefix(rest, "-"); found {
		v.pre, _, _ = strings.Cut(pre, "+")
	}
	return v, true
}

// parsePartial reads a version of a range. The last of its numbers may be missing or x, X or *. After three numbers it
// may have a pre-release.
func parsePartial(s string) (semver, bool) {
	s, _, _ = strings.Cut(s, "+")
	v, rest, ok := parseNumbers(s)
	if !ok {
		return semver{}, false
	}
	for startsWithWildcard(rest) && v.given < 3 {
		_, rest, _ = strings.Cut(rest, ".")
	}
	if pre, found := strings.CutPrefix(rest, "-"); found && v.given == 3 && pre != "" {
		v.pre, rest = pre, ""
	}
	return v, rest == ""
}

// startsWithWildcard reports whether the text starts with a wildcard in place of a number.
func startsWithWildcard(s string) bool {
	first, _, _ := strings.Cut(s, ".")
	return first == "x" || first == "X" || first == "*"
}

// parseNumbers reads up to three numbers. rest is the text after them, without the dot after a
// first or second number.
func parseNumbers(s string) (v semver, rest string, ok bool) {
	s = strings.TrimPrefix(s, "v")
	for v.given < 3 {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if digits == 0 {
			return v, s, true
		}
		number, err := strconv.ParseUint(s[:digits], 10, 64)
		if err != nil {
			return v, s, false
		}
		v.numbers[v.given] = number
		v.given++
		s = s[digits:]
		if !strings.HasPrefix(s, ".") || v.given == 3 {
			return v, s, true
		}
		s = s[1:]
	}
	return v, s, true
}

// compare compares versions by semver precedence.
func (v semver) compare(w semver) int {
	for i := range v.numbers {
		if c := cmp.Compare(v.numbers[i], w.numbers[i]); c != 0 {
			return c
		}
	}
	switch {
	case v.pre == w.pre:
		return 0
	case v.pre == "":
		return 1
	case w.pre == "":
		return -1
	}
	return comparePre(v.pre, w.pre)
}

// comparePre compares dotted identifiers. Numbers come before words and compare by value. Then the shorter list is lower.
func comparePre(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareIdentifier(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareIdentifier(a, b string) int {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// floor is the lowest version that matches a partial one.
func (v semver) floor() semver {
	if v.given < 3 {
		v.pre = lowest
	}
	return v
}

// next is the lowest version above all versions with the same numbers up to i.
func (v semver) next(i int) semver {
	n := semver{given: 3, pre: lowest}
	copy(n.numbers[:i+1], v.numbers[:i+1])
	n.numbers[i]++
	return n
}
