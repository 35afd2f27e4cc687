package target

import "strings"

// inRange reports whether a version lies in a semver range (docs/spec/cloud.md 3.8): alternatives
// divided by ||, in each of them comparators that must all hold: 5, 5.5.*, =5.5.5, >5, >=5.5, <6,
// <=6, ~5.5, ^5.5 and 5.1 - 5.4. A pre-release takes part by its precedence. A range that cannot
// be read holds for nothing.
func inRange(version, text string) bool {
	v, ok := parseFact(version)
	if !ok {
		return false
	}
	holds := false
	for alternative := range strings.SplitSeq(text, "||") {
		all, ok := v.meets(comparators(alternative))
		if !ok {
			return false
		}
		holds = holds || all
	}
	return holds
}

// comparators divides at spaces, but not between an operator and its version.
func comparators(alternative string) []string {
	var list []string
	operator := ""
	for _, word := range strings.Fields(alternative) {
		if strings.Trim(word, "<>=~^") == "" {
			operator += word
			continue
		}
		list = append(list, operator+word)
		operator = ""
	}
	if operator != "" {
		list = append(list, operator)
	}
	return list
}

// meets reports whether all comparators hold, and whether they can be read.
func (v semver) meets(list []string) (holds, ok bool) {
	holds = true
	for i := 0; i < len(list); i++ {
		one, good := false, false
		if i+2 < len(list) && list[i+1] == "-" {
			one, good = v.between(list[i], list[i+2])
			i += 2
		} else {
			one, good = v.meetsOne(list[i])
		}
		if !good {
			return false, false
		}
		holds = holds && one
	}
	return holds, true
}

// between is the range "a - b", both ends included.
func (v semver) between(a, b string) (holds, ok bool) {
	low, okLow := parsePartial(a)
	high, okHigh := parsePartial(b)
	return v.atLeast(low) && v.atMost(high), okLow && okHigh
}

func (v semver) meetsOne(comparator string) (holds, ok bool) {
	text := strings.TrimLeft(comparator, "<>=~^")
	operator := comparator[:len(comparator)-len(text)]
	p, ok := parsePartial(text)
	if !ok || text == "" {
		return false, false
	}
	switch operator {
	case "", "=":
		return v.atLeast(p) && v.atMost(p), true
	case ">=":
		return v.atLeast(p), true
	case "<=":
		return v.atMost(p), true
	case ">":
		return !v.atMost(p), true
	case "<":
		return !v.atLeast(p), true
	case "~", "~>":
		return v.atLeast(p) && v.isBelowNext(p, min(1, p.given-1)), true
	case "^":
		return v.atLeast(p) && v.isBelowNext(p, p.significant()), true
	}
	return false, false
}

func (v semver) atLeast(p semver) bool { return p.given == 0 || v.compare(p.floor()) >= 0 }

func (v semver) atMost(p semver) bool {
	if p.given == 3 {
		return v.compare(p) <= 0
	}
	return v.isBelowNext(p, p.given-1)
}

// isBelowNext reports whether v comes before the next version of p at its number i; none is
// written for i below 0.
func (v semver) isBelowNext(p semver, i int) bool { return i < 0 || v.compare(p.next(i)) < 0 }

// significant is the place of the first number that is not zero, or the last one written.
func (v semver) significant() int {
	for i := range v.given {
		if v.numbers[i] != 0 {
			return i
		}
	}
	return v.given - 1
}
